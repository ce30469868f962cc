//! Pull requests: the list, one of them, and the approval of a held one.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::view::{Mark, Moment, clean, mark};
use super::{Frame, answer, command, link, path, render};
use crate::extract::{Id, Params};
use crate::problem::Problem;
use crate::rest::pull_requests::{
    CheckItem, PullRequestItem, PullRequestsQuery, approve_head, find, load,
};
use crate::router::App;
use crate::text::short_sha;

const HELD: Mark = Mark { word: "Held", kind: "held" };
const OPEN: Mark = Mark { word: "Open", kind: "open" };
const DRAFT: Mark = Mark { word: "Draft", kind: "waiting" };
const MERGED: Mark = Mark { word: "Merged", kind: "success" };
const CLOSED: Mark = Mark { word: "Closed", kind: "skip" };

#[derive(Template)]
#[template(path = "pulls.html")]
struct PullsPage {
    frame: Frame,
    rows: Vec<PullRow>,
    query: PullRequestsQuery,
    is_filtered: bool,
    /// Whether a check of one of them is not complete yet.
    is_live: bool,
    next: Option<String>,
    first: String,
    add_command: String,
    open_command: String,
}

struct PullRow {
    pull: PullRequestItem,
    mark: &'static Mark,
    short_sha: String,
    changed: Moment,
    /// The check that counts, once there is one.
    check: Option<&'static Mark>,
    /// Whether a verdict is still to come.
    is_live: bool,
}

#[derive(Template)]
#[template(path = "pull.html")]
struct PullPage {
    frame: Frame,
    row: PullRow,
    base_sha: String,
    checks: Vec<CheckRow>,
    approve_command: String,
    runs_link: String,
}

struct CheckRow {
    check: CheckItem,
    mark: &'static Mark,
    short_sha: String,
}

/// What the approve button sends.
#[derive(Deserialize)]
pub struct ApproveForm {
    sha: String,
}

/// `GET /pull-requests`.
pub async fn list(
    State(app): State<Arc<App>>,
    query: Result<Params<PullRequestsQuery>, Problem>,
) -> Response {
    let page = match query {
        Ok(Params(query)) => show_list(&app, query).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn show_list(app: &App, query: PullRequestsQuery) -> Result<Response, Problem> {
    let page = find(app, query.clone()).await?;
    let given = [&query.repo, &query.state, &query.page_token];
    let rows: Vec<PullRow> = page.items.into_iter().map(|pull| row(app, pull)).collect();
    render(&PullsPage {
        frame: Frame::new(app, "pull-requests"),
        is_live: rows.iter().any(|row| row.is_live),
        rows,
        is_filtered: given.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty())),
        next: page.next_page_token.map(|token| page_link(&query, Some(&token))),
        first: page_link(&query, None),
        query,
        add_command: command(app, &["repo", "add", ".", "--name", "owner/repo"]),
        open_command: command(app, &["pr", "open"]),
    })
}

/// `GET /pull-requests/{id}`.
pub async fn page(State(app): State<Arc<App>>, id: Result<Id<String>, Problem>) -> Response {
    let page = match id {
        Ok(Id(id)) => show(&app, id).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn show(app: &App, id: String) -> Result<Response, Problem> {
    let mut pull = load(app, id).await?;
    pull.comment = pull.comment.map(|comment| clean(without_tag(&comment)));
    let checks: Vec<CheckRow> = pull.checks.iter().cloned().map(check_row).collect();
    let number = pull.number.to_string();
    let words = ["pr", "approve", &number, "--sha", &pull.head_sha, "--repo", &pull.repo];
    let approve_command = command(app, &words);
    render(&PullPage {
        frame: Frame::new(app, "pull-requests"),
        base_sha: short_sha(&pull.base_sha),
        checks,
        runs_link: link("/runs", &[("pr", Some(&pull.id))]),
        row: row(app, pull),
        approve_command,
    })
}

/// `POST /pull-requests/{id}/approve`.
pub async fn approve(
    State(app): State<Arc<App>>,
    id: Result<Id<String>, Problem>,
    form: Result<Form<ApproveForm>, FormRejection>,
) -> Response {
    let approved = match (id, form) {
        (Ok(Id(id)), Ok(Form(form))) => approve_head(&app, id, &form.sha).await,
        (Err(problem), _) => Err(problem),
        (_, Err(_)) => Err(Problem::invalid("the form must hold `sha`")),
    };
    let page =
        approved.map(|pull| Redirect::to(&path(&["pull-requests", &pull.id])).into_response());
    answer(&app, page)
}

/// The comment without the first line by which we find it again.
fn without_tag(comment: &str) -> &str {
    match comment.split_once('\n') {
        Some((tag, rest)) if tag.starts_with("<!--") && tag.ends_with("-->") => rest,
        Some(_) | None => comment,
    }
}

fn row(app: &App, pull: PullRequestItem) -> PullRow {
    let mark = match (pull.state.as_str(), pull.merged, pull.held, pull.draft) {
        ("open", _, true, _) => &HELD,
        ("open", _, false, true) => &DRAFT,
        ("open", _, false, false) => &OPEN,
        (_, true, _, _) => &MERGED,
        _ => &CLOSED,
    };
    let aggregate = pull.checks.iter().find(|check| check.name == "sandgate");
    let is_decided = aggregate.is_some_and(|check| check.status == "completed");
    PullRow {
        mark,
        is_live: pull.state == "open" && !pull.held && !is_decided,
        short_sha: short_sha(&pull.head_sha),
        changed: Moment::new(app, pull.updated),
        check: aggregate.map(check_mark),
        pull,
    }
}

fn check_row(check: CheckItem) -> CheckRow {
    CheckRow { mark: check_mark(&check), short_sha: short_sha(&check.sha), check }
}

fn check_mark(check: &CheckItem) -> &'static Mark {
    mark(check.conclusion.as_deref(), &check.status)
}

fn page_link(query: &PullRequestsQuery, token: Option<&str>) -> String {
    let size = query.page_size.map(|size| size.to_string());
    link(
        "/pull-requests",
        &[
            ("repo", query.repo.as_deref()),
            ("state", query.state.as_deref()),
            ("pageSize", size.as_deref()),
            ("pageToken", token),
        ],
    )
}
