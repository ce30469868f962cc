//! The list of snapshots: what is kept of runs, until when, and how to get into it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::view::Moment;
use super::{Frame, answer, command, link, path, render};
use crate::extract::Params;
use crate::problem::Problem;
use crate::rest::snapshots::{SnapshotItem, SnapshotsQuery, find};
use crate::router::App;
use crate::text;

#[derive(Template)]
#[template(path = "snapshots.html")]
struct SnapshotsPage {
    frame: Frame,
    rows: Vec<Row>,
    query: SnapshotsQuery,
    is_filtered: bool,
    next: Option<String>,
    first: String,
    run_command: String,
}

struct Row {
    id: String,
    kind: &'static str,
    repo: String,
    gate: Option<String>,
    run_link: String,
    size: String,
    created: Moment,
    expires: Option<Moment>,
    pinned: bool,
    /// What enters it; none if its files are gone, or not there yet.
    command: Option<String>,
    state: String,
}

/// `GET /snapshots`.
pub async fn page(
    State(app): State<Arc<App>>,
    query: Result<Params<SnapshotsQuery>, Problem>,
) -> Response {
    let page = match query {
        Ok(Params(query)) => list(&app, query).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn list(app: &App, query: SnapshotsQuery) -> Result<Response, Problem> {
    let page = find(app, query.clone()).await?;
    let given = [&query.repo, &query.run, &query.page_token];
    render(&SnapshotsPage {
        frame: Frame::new(app, "snapshots"),
        is_filtered: given.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty())),
        rows: page.items.into_iter().map(|snapshot| row(app, snapshot)).collect(),
        next: page.next_page_token.map(|token| page_link(&query, Some(&token))),
        first: page_link(&query, None),
        query,
        run_command: command(app, &["pr", "open"]),
    })
}

fn row(app: &App, snapshot: SnapshotItem) -> Row {
    let is_here = snapshot.state == "local";
    Row {
        kind: match snapshot.kind.as_str() {
            "debug" => "Debug",
            "approved" => "Approved",
            _ => "Setup",
        },
        run_link: path(&["runs", &snapshot.run]),
        size: if is_here { text::bytes(snapshot.bytes) } else { "–".to_owned() },
        created: Moment::new(app, snapshot.created),
        expires: snapshot.expires.map(|at| Moment::new(app, at)),
        pinned: snapshot.pinned,
        command: is_here.then(|| command(app, &["debug", "--snapshot", &snapshot.id])),
        state: match snapshot.state.as_str() {
            "sealing" => "being sealed".to_owned(),
            "deleted" => "its files are removed".to_owned(),
            other => other.to_owned(),
        },
        id: snapshot.id,
        repo: snapshot.repo,
        gate: snapshot.gate,
    }
}

fn page_link(query: &SnapshotsQuery, token: Option<&str>) -> String {
    let size = query.page_size.map(|size| size.to_string());
    link(
        "/snapshots",
        &[
            ("repo", query.repo.as_deref()),
            ("run", query.run.as_deref()),
            ("pageSize", size.as_deref()),
            ("pageToken", token),
        ],
    )
}
