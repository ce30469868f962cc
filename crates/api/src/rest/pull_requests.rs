//! `/api/v1/pull-requests`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sandgate_domain::Timestamp;
use sandgate_wire::pulls::v1::{
    ApproveRequest, Check, CloseRequest, GetPullRequestRequest, ListPullRequestsRequest,
    OpenRequest, PullRequest, PushRequest,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{self, Page};
use crate::clients::call;
use crate::extract::{Body, Id, Params};
use crate::problem::Problem;
use crate::router::App;
use crate::text::rfc3339;

/// Who opened or approved, as it is written down: whoever holds the one access token.
pub const ACTOR: &str = "holder of the access token";

/// One pull request.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PullRequest)]
pub struct PullRequestItem {
    pub id: String,
    pub repo: String,
    pub number: u64,
    pub title: String,
    pub author: String,
    pub head_sha: String,
    pub head_branch: String,
    pub base_sha: String,
    pub base_branch: String,
    pub fork: bool,
    /// `member`, `agent` or `fork`.
    pub tier: String,
    /// `open` or `closed`.
    pub state: String,
    pub merged: bool,
    pub draft: bool,
    /// Whether its head waits for an approval.
    pub held: bool,
    pub generation: u32,
    pub checks: Vec<CheckItem>,
    /// Our comment, in Markdown.
    pub comment: Option<String>,
    /// The run of its head.
    pub run: Option<String>,
    pub updated_at: String,
    /// When it last changed, as pages need it.
    #[serde(skip)]
    pub updated: Timestamp,
}

/// One check on a commit.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Check)]
pub struct CheckItem {
    pub name: String,
    pub sha: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    pub conclusion: Option<String>,
    pub title: String,
    pub summary: String,
}

/// Which pull requests.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PullRequestsQuery {
    /// Of this repository.
    pub repo: Option<String>,
    /// `open` or `closed`; both if not given.
    pub state: Option<String>,
    /// 1 to 200; default 50.
    pub page_size: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// What is approved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The head that was looked at; another head is not approved.
    pub sha: String,
}

/// A pull request to open in a repository that lies on the machine of the server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPullRequest {
    /// The repository that it goes into.
    pub repo: String,
    /// A folder on the machine of the server: what is committed there becomes the head.
    pub checkout: String,
    /// The name that its branch gets.
    pub head_branch: String,
    /// The branch that it goes into; the default branch if not given.
    pub base_branch: Option<String>,
    /// The head branch if not given.
    pub title: Option<String>,
}

/// New commits for a pull request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommits {
    /// A folder on the machine of the server: what is committed there becomes the head.
    pub checkout: String,
}

/// Pull requests.
#[utoipa::path(get, path = "/api/v1/pull-requests", params(PullRequestsQuery), tag = "pull requests",
    responses((status = 200, body = Page<PullRequestItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<PullRequestsQuery>,
) -> Result<Json<Page<PullRequestItem>>, Problem> {
    find(&app, query).await.map(Json)
}

/// The page of pull requests that a query asks for.
///
/// # Errors
/// If the query is wrong, or the service does not answer.
pub async fn find(app: &App, query: PullRequestsQuery) -> Result<Page<PullRequestItem>, Problem> {
    let state = page::text("state", query.state)?;
    if state.as_deref().is_some_and(|state| !matches!(state, "open" | "closed")) {
        return Err(Problem::invalid("query: state must be `open` or `closed`"));
    }
    let request = ListPullRequestsRequest {
        repository: page::text("repo", query.repo)?,
        state,
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
    };
    let reply = call(app.clients.pull_requests.clone().list(request)).await?;
    let items = reply.pull_requests.into_iter().map(PullRequestItem::from).collect();
    Ok(Page { items, next_page_token: reply.next_page_token })
}

/// One pull request.
#[utoipa::path(get, path = "/api/v1/pull-requests/{id}", params(("id" = String, Path)), tag = "pull requests",
    responses((status = 200, body = PullRequestItem), (status = "default", body = Problem)))]
pub async fn get(
    State(app): State<Arc<App>>,
    Id(id): Id<String>,
) -> Result<Json<PullRequestItem>, Problem> {
    load(&app, id).await.map(Json)
}

/// One pull request.
///
/// # Errors
/// If there is none, or the service does not answer.
pub async fn load(app: &App, id: String) -> Result<PullRequestItem, Problem> {
    let request = GetPullRequestRequest {
        id: page::text("id", Some(id))?,
        ..GetPullRequestRequest::default()
    };
    Ok(call(app.clients.pull_requests.clone().get(request)).await?.into())
}

/// Lets a held pull request run at exactly this head.
#[utoipa::path(post, path = "/api/v1/pull-requests/{id}/approve", params(("id" = String, Path)), tag = "pull requests",
    request_body = Approval,
    responses((status = 200, body = PullRequestItem), (status = "default", body = Problem)))]
pub async fn approve(
    State(app): State<Arc<App>>,
    Id(id): Id<String>,
    Body(approval): Body<Approval>,
) -> Result<Json<PullRequestItem>, Problem> {
    approve_head(&app, id, &approval.sha).await.map(Json)
}

/// Approves one head of a pull request.
///
/// # Errors
/// If there is no such pull request, or its head is another by now.
pub async fn approve_head(app: &App, id: String, sha: &str) -> Result<PullRequestItem, Problem> {
    let sha = page::commit(sha)?;
    let known = load(app, id).await?;
    let request = ApproveRequest {
        repository: known.repo,
        number: known.number,
        sha,
        approver: ACTOR.to_owned(),
    };
    Ok(call(app.clients.pull_requests.clone().approve(request)).await?.into())
}

/// Opens a pull request.
#[utoipa::path(post, path = "/api/v1/pull-requests", request_body = NewPullRequest, tag = "pull requests",
    responses((status = 201, body = PullRequestItem), (status = "default", body = Problem)))]
pub async fn open(
    State(app): State<Arc<App>>,
    Body(new): Body<NewPullRequest>,
) -> Result<(StatusCode, Json<PullRequestItem>), Problem> {
    let NewPullRequest { repo, checkout, head_branch, base_branch, title } = new;
    let request = OpenRequest {
        repository: repo,
        checkout,
        head_branch,
        base_branch,
        title,
        author: ACTOR.to_owned(),
    };
    let opened = call(app.clients.pull_requests.clone().open(request)).await?;
    Ok((StatusCode::CREATED, Json(opened.into())))
}

/// Moves the head of an open pull request.
#[utoipa::path(post, path = "/api/v1/pull-requests/{id}/push", params(("id" = String, Path)), tag = "pull requests",
    request_body = NewCommits,
    responses((status = 200, body = PullRequestItem), (status = "default", body = Problem)))]
pub async fn push(
    State(app): State<Arc<App>>,
    Id(id): Id<String>,
    Body(NewCommits { checkout }): Body<NewCommits>,
) -> Result<Json<PullRequestItem>, Problem> {
    let id = page::text("id", Some(id))?;
    let request = PushRequest { id, checkout, ..PushRequest::default() };
    Ok(Json(call(app.clients.pull_requests.clone().push(request)).await?.into()))
}

/// Closes a pull request; one that is closed stays so.
#[utoipa::path(post, path = "/api/v1/pull-requests/{id}/close", params(("id" = String, Path)), tag = "pull requests",
    responses((status = 200, body = PullRequestItem), (status = "default", body = Problem)))]
pub async fn close(
    State(app): State<Arc<App>>,
    Id(id): Id<String>,
) -> Result<Json<PullRequestItem>, Problem> {
    let request = CloseRequest { id: page::text("id", Some(id))?, ..CloseRequest::default() };
    Ok(Json(call(app.clients.pull_requests.clone().close(request)).await?.into()))
}

impl From<PullRequest> for PullRequestItem {
    fn from(pull: PullRequest) -> Self {
        Self {
            id: pull.id,
            repo: pull.repository,
            number: pull.number,
            title: pull.title,
            author: pull.author,
            head_sha: pull.head_sha,
            head_branch: pull.head_branch,
            base_sha: pull.base_sha,
            base_branch: pull.base_branch,
            fork: pull.fork,
            tier: pull.tier,
            state: pull.state,
            merged: pull.merged,
            draft: pull.draft,
            held: pull.held,
            generation: pull.generation,
            checks: pull.checks.into_iter().map(CheckItem::from).collect(),
            comment: pull.comment,
            run: pull.run,
            updated_at: rfc3339(Timestamp::from_micros(pull.updated_at)),
            updated: Timestamp::from_micros(pull.updated_at),
        }
    }
}

impl From<Check> for CheckItem {
    fn from(check: Check) -> Self {
        let Check { name, sha, status, conclusion, title, summary } = check;
        Self { name, sha, status, conclusion, title, summary }
    }
}
