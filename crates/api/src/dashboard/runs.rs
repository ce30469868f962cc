//! The list of runs.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::view::{Mark, Moment, elapsed, mark, millis};
use super::{Frame, answer, command, link, render};
use crate::extract::Params;
use crate::problem::Problem;
use crate::rest::gate_item::GateItem;
use crate::rest::run_item::RunItem;
use crate::rest::runs::{RunsQuery, find};
use crate::router::App;
use crate::text::short_sha;

/// The results that can be filtered for, with their words.
const RESULTS: [(&str, &str); 6] = [
    ("success", "Success"),
    ("failure", "Failure"),
    ("error", "Error"),
    ("timeout", "Timeout"),
    ("cancellation", "Cancelled"),
    ("skip", "Skipped"),
];

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    frame: Frame,
    rows: Vec<RunRow>,
    query: RunsQuery,
    results: [(&'static str, &'static str); 6],
    is_filtered: bool,
    next: Option<String>,
    first: String,
    is_live: bool,
    add_command: String,
    open_command: String,
}

struct RunRow {
    id: String,
    repo: String,
    sha: String,
    branch: String,
    dirty: bool,
    mark: &'static Mark,
    why: String,
    gates: String,
    pull_request: Option<String>,
    created: Moment,
    duration: String,
}

/// `GET /runs`.
pub async fn page(
    State(app): State<Arc<App>>,
    query: Result<Params<RunsQuery>, Problem>,
) -> Response {
    let page = match query {
        Ok(Params(query)) => list(&app, query).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn list(app: &App, query: RunsQuery) -> Result<Response, Problem> {
    let page = find(app, query.clone()).await?;
    let given = [&query.repo, &query.sha, &query.pr, &query.result, &query.page_token];
    render(&RunsPage {
        frame: Frame::new(app, "runs"),
        rows: page.items.iter().map(|run| row(app, run)).collect(),
        is_filtered: given.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty())),
        results: RESULTS,
        is_live: page.items.iter().any(|run| run.result.is_none()),
        next: page.next_page_token.map(|token| page_link(&query, Some(&token))),
        first: page_link(&query, None),
        query,
        add_command: command(app, &["repo", "add", ".", "--name", "owner/repo"]),
        open_command: command(app, &["pr", "open"]),
    })
}

fn row(app: &App, run: &RunItem) -> RunRow {
    let passed = |result: &str| matches!(result, "success" | "skip");
    let good = run.gates.iter().filter(|g| g.result.as_deref().is_some_and(passed)).count();
    RunRow {
        id: run.id.clone(),
        repo: run.repo.clone(),
        sha: short_sha(&run.sha),
        branch: run.branch.clone().unwrap_or_default(),
        dirty: run.dirty,
        mark: mark(run.result.as_deref(), &run.state),
        why: why(run),
        gates: format!("{good} of {} passed", run.gates.len()),
        pull_request: run.pull_request.clone(),
        created: Moment::new(app, run.created),
        duration: match run.result {
            Some(_) => millis(run.duration_ms),
            None => elapsed(app, run.created),
        },
    }
}

/// What it waits for, or what did not pass.
fn why(run: &RunItem) -> String {
    let all = || run.setups.iter().chain(&run.gates);
    if run.result.is_none() {
        let gates = || all().filter(|gate| gate.result.is_none());
        let running: Vec<&str> =
            gates().filter(|g| g.state == "claimed").map(|g| g.name.as_str()).collect();
        let runs = (!running.is_empty()).then(|| format!("running: {}", running.join(", ")));
        // While something runs, what waits for it is told on the page of the run.
        let waits = run.waiting.clone().or_else(|| {
            let waiting =
                |gate: &GateItem| Some(format!("{}: {}", gate.name, gate.waiting.as_ref()?));
            if runs.is_none() { gates().find_map(waiting) } else { None }
        });
        return [runs, waits].into_iter().flatten().collect::<Vec<_>>().join("; ");
    }
    let is_bad = |result: &str| matches!(result, "failure" | "error" | "timeout");
    let bad = all().filter(|gate| gate.result.as_deref().is_some_and(is_bad));
    let reasons: Vec<String> = bad
        .map(|gate| match &gate.reason {
            Some(reason) => format!("{}: {reason}", gate.name),
            None => gate.name.clone(),
        })
        .collect();
    reasons.join("; ")
}

fn page_link(query: &RunsQuery, token: Option<&str>) -> String {
    let size = query.page_size.map(|size| size.to_string());
    link(
        "/runs",
        &[
            ("repo", query.repo.as_deref()),
            ("sha", query.sha.as_deref()),
            ("pr", query.pr.as_deref()),
            ("result", query.result.as_deref()),
            ("pageSize", size.as_deref()),
            ("pageToken", token),
        ],
    )
}
