//! One run: its gates, what they wait for, what failed, and how to get into their snapshots.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};
use sandgate_domain::RunId;
use serde::Deserialize;

use super::view::{GateRow, Mark, Moment, mark, millis};
use super::{Frame, answer, command, link, path, render};
use crate::extract::Id;
use crate::problem::Problem;
use crate::rest::pull_requests;
use crate::rest::run_item::{Isolation, RunItem, UnsupportedKey};
use crate::rest::runs::{again, load, stop};
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
    pull_request: Option<PullLink>,
    mark: &'static Mark,
    waiting: String,
    created: Moment,
    duration: String,
    isolation: Option<String>,
    gates: Vec<GateRow>,
    snapshots: Vec<SnapshotRow>,
    unsupported: Vec<UnsupportedKey>,
    has_ended: bool,
    /// Whether something of it did not pass and can be run again alone.
    has_failed: bool,
}

struct PullLink {
    address: String,
    title: String,
}

struct SnapshotRow {
    id: String,
    kind: &'static str,
    of: String,
    command: String,
}

/// What the buttons that run again send.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct RerunForm {
    only_failed: bool,
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

/// `POST /runs/{id}/cancel`.
pub async fn cancel(State(app): State<Arc<App>>, id: Result<Id<RunId>, Problem>) -> Response {
    let stopped = match id {
        Ok(Id(id)) => stop(&app, id, "cancelled on its page").await,
        Err(problem) => Err(problem),
    };
    answer(&app, stopped.map(|run| shown(&run)))
}

/// `POST /runs/{id}/rerun`.
pub async fn rerun(
    State(app): State<Arc<App>>,
    id: Result<Id<RunId>, Problem>,
    form: Result<Form<RerunForm>, FormRejection>,
) -> Response {
    let started = match (id, form) {
        (Ok(Id(id)), Ok(Form(form))) => again(&app, id, form.only_failed).await,
        (Err(problem), _) => Err(problem),
        (_, Err(_)) => Err(Problem::invalid("the form may hold `only_failed`, true or false")),
    };
    answer(&app, started.map(|run| shown(&run)))
}

fn shown(run: &RunItem) -> Response {
    Redirect::to(&path(&["runs", &run.id])).into_response()
}

async fn view(app: &App, id: Result<Id<RunId>, Problem>) -> Result<RunView, Problem> {
    let Id(id) = id?;
    let run = load(app, id).await?;
    let pull_request = match &run.pull_request {
        Some(id) => Some(pull_link(app, id).await?),
        None => None,
    };
    let passed = |result: &str| matches!(result, "success" | "skip");
    Ok(RunView {
        pull_request,
        has_failed: run.gates.iter().any(|g| g.result.as_deref().is_some_and(|r| !passed(r))),
        short_sha: short_sha(&run.sha),
        base_sha: short_sha(run.base_sha.as_deref().unwrap_or_default()),
        branch: run.branch.clone().unwrap_or_default(),
        mark: mark(run.result.as_deref(), &run.state),
        waiting: run.waiting.clone().unwrap_or_default(),
        duration: millis(run.duration_ms),
        isolation: run.isolation.as_ref().map(isolation),
        gates: run.setups.iter().chain(&run.gates).map(|gate| GateRow::new(app, gate)).collect(),
        snapshots: snapshots(app, &run),
        has_ended: run.result.is_some(),
        created: Moment::new(app, run.created),
        repo_link: link("/runs", &[("repo", Some(&run.repo))]),
        id: run.id,
        repo: run.repo,
        sha: run.sha,
        dirty: run.dirty,
        unsupported: run.unsupported,
    })
}

/// By its number and title; by its id alone if it is gone.
async fn pull_link(app: &App, id: &str) -> Result<PullLink, Problem> {
    let title = match pull_requests::load(app, id.to_owned()).await {
        Ok(pull) => format!("#{} {}", pull.number, pull.title),
        Err(problem) if problem.status == 404 => id.to_owned(),
        Err(problem) => return Err(problem),
    };
    Ok(PullLink { address: path(&["pull-requests", id]), title })
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
