//! One run: its gates, what they wait for, what failed, and how to get into their snapshots.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sandgate_domain::RunId;

use super::view::{GateRow, Mark, Moment, mark, millis};
use super::{Frame, answer, command, link, render};
use crate::extract::Id;
use crate::problem::Problem;
use crate::rest::run_item::{Isolation, RunItem, UnsupportedKey};
use crate::rest::runs::load;
use crate::router::App;
use crate::text::short_sha;

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    run: RunView,
}

#[derive(Template)]
#[template(path = "run_live.html")]
struct LivePart {
    run: RunView,
}

struct RunView {
    id: String,
    repo: String,
    repo_link: String,
    sha: String,
    short_sha: String,
    base_sha: String,
    branch: String,
    dirty: bool,
    pull_request: Option<String>,
    mark: &'static Mark,
    waiting: String,
    created: Moment,
    duration: String,
    isolation: Option<String>,
    gates: Vec<GateRow>,
    snapshots: Vec<SnapshotRow>,
    unsupported: Vec<UnsupportedKey>,
    has_ended: bool,
}

struct SnapshotRow {
    id: String,
    kind: &'static str,
    of: String,
    command: String,
}

/// `GET /runs/{id}`.
pub async fn page(State(app): State<Arc<App>>, id: Result<Id<RunId>, Problem>) -> Response {
    let page = match view(&app, id).await {
        Ok(run) => render(&RunPage { frame: Frame::new(&app, "runs"), run }),
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

/// `GET /runs/{id}/live`: the part of the page that changes.
pub async fn live(
    State(app): State<Arc<App>>,
    id: Result<Id<RunId>, Problem>,
) -> Result<Response, Problem> {
    render(&LivePart { run: view(&app, id).await? })
}

async fn view(app: &App, id: Result<Id<RunId>, Problem>) -> Result<RunView, Problem> {
    let Id(id) = id?;
    let run = load(app, id).await?;
    Ok(RunView {
        short_sha: short_sha(&run.sha),
        base_sha: short_sha(run.base_sha.as_deref().unwrap_or_default()),
        branch: run.branch.clone().unwrap_or_default(),
        mark: mark(run.result.as_deref(), &run.state),
        waiting: run.waiting.clone().unwrap_or_default(),
        duration: millis(run.duration_ms),
        isolation: run.isolation.as_ref().map(isolation),
        gates: run.setups.iter().chain(&run.gates).map(GateRow::from).collect(),
        snapshots: snapshots(app, &run),
        has_ended: run.result.is_some(),
        created: Moment::new(app, run.created),
        repo_link: link("/runs", &[("repo", Some(&run.repo))]),
        id: run.id,
        repo: run.repo,
        sha: run.sha,
        dirty: run.dirty,
        pull_request: run.pull_request,
        unsupported: run.unsupported,
    })
}

fn isolation(isolation: &Isolation) -> String {
    let limits = if isolation.limits.is_empty() {
        "no limits held".to_owned()
    } else {
        format!("limits on {}", isolation.limits.join(", "))
    };
    let network = if isolation.network { "network policy held" } else { "network policy not held" };
    format!("{} level; {limits}; {network}", isolation.level)
}

fn snapshots(app: &App, run: &RunItem) -> Vec<SnapshotRow> {
    let approved = run.approved_snapshot.iter().map(|id| SnapshotRow {
        id: id.clone(),
        kind: "Approved",
        of: "the run".to_owned(),
        command: command(app, &["snapshot", "show", id]),
    });
    let debug = run.debug_snapshots.iter().map(|(gate, id)| SnapshotRow {
        id: id.clone(),
        kind: "Debug",
        of: gate.clone(),
        command: command(app, &["debug", gate, "--run", &run.id]),
    });
    approved.chain(debug).collect()
}
