//! `/api/v1/runs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sandgate_domain::{GateResult, RunId};
use sandgate_wire::pulls::v1::GetPullRequestRequest;
use sandgate_wire::runs::v1::{
    CancelRunRequest, CreateFromCommitRequest, GetRunRequest, ListRunsRequest, RerunRequest,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::page::{self, Page};
use super::run_item::{RunItem, convert};
use crate::clients::call;
use crate::extract::{Body, Id, OptionalBody, Params};
use crate::problem::Problem;
use crate::router::App;

/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Which runs.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Of this repository.
    pub repo: Option<String>,
    /// Of the commits that start so.
    pub sha: Option<String>,
    /// Of this pull request: its id, or its number together with `repo`.
    pub pr: Option<String>,
    /// With this verdict.
    pub result: Option<String>,
    /// 1 to 200; default 50.
    pub page_size: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// What to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRun {
    /// A known repository, such as `owner/name`.
    pub repo: String,
    /// The whole id of the commit.
    pub sha: String,
}

/// How to run again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rerun {
    /// Only the gates that did not pass.
    pub only_failed: bool,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", params(RunsQuery), tag = "runs",
    responses((status = 200, body = Page<RunItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<RunsQuery>,
) -> Result<Json<Page<RunItem>>, Problem> {
    find(&app, query).await.map(Json)
}

/// The page of runs that a query asks for.
///
/// # Errors
/// If the query is wrong, or the service does not answer.
pub async fn find(app: &App, query: RunsQuery) -> Result<Page<RunItem>, Problem> {
    let repository = page::text("repo", query.repo)?;
    let pull_request = pull_request_id(app, page::text("pr", query.pr)?, repository.as_deref());
    let result = page::text("result", query.result)?;
    if let Some(Err(error)) = result.as_deref().map(str::parse::<GateResult>) {
        return Err(Problem::invalid(format!("query: result: {error}")));
    }
    let request = ListRunsRequest {
        sha: page::commit_prefix(query.sha)?,
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
        pull_request: pull_request.await?,
        repository,
        result,
    };
    let reply = call(app.clients.runs.clone().list(request)).await?;
    Ok(Page { items: convert(reply.runs)?, next_page_token: reply.next_page_token })
}

async fn pull_request_id(
    app: &App,
    asked: Option<String>,
    repository: Option<&str>,
) -> Result<Option<String>, Problem> {
    let number = match asked.as_deref().map(str::parse::<u64>) {
        Some(Ok(number)) => number,
        Some(Err(_)) | None => return Ok(asked),
    };
    let Some(repository) = repository else {
        return Err(Problem::invalid("query: the number of a pull request needs `repo` beside it"));
    };
    let request = GetPullRequestRequest { repository: repository.to_owned(), number, id: None };
    let found = call(app.clients.pull_requests.clone().get(request)).await?;
    Ok(Some(found.id))
}

/// One run.
#[utoipa::path(get, path = "/api/v1/runs/{id}", params(("id" = String, Path)), tag = "runs",
    responses((status = 200, body = RunItem), (status = "default", body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, Id(id): Id<RunId>) -> Result<Json<RunItem>, Problem> {
    load(&app, id).await.map(Json)
}

/// One run.
///
/// # Errors
/// If there is none, or the service does not answer.
pub async fn load(app: &App, id: RunId) -> Result<RunItem, Problem> {
    call(app.clients.runs.clone().get(GetRunRequest { id: id.to_string() })).await?.try_into()
}

/// Runs the gates of a commit.
#[utoipa::path(post, path = "/api/v1/runs", request_body = NewRun, tag = "runs",
    params(("Idempotency-Key" = Option<String>, Header, description = "A second call with the same key answers the same run")),
    responses((status = 201, body = RunItem), (status = 200, body = RunItem, description = "The key was used before"),
        (status = "default", body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(new): Body<NewRun>,
) -> Result<Response, Problem> {
    let request = CreateFromCommitRequest {
        sha: page::commit(&new.sha)?,
        repository: page::text("repo", Some(new.repo))?
            .ok_or_else(|| Problem::invalid("body: repo is empty"))?,
        idempotency_key: idempotency_key(&headers)?,
    };
    let reply = call(app.clients.runs.clone().create_from_commit(request)).await?;
    let run = reply.run.ok_or_else(|| super::run_item::unreadable("a created run is missing"))?;
    let status = if reply.existed { StatusCode::OK } else { StatusCode::CREATED };
    made(status, run.try_into()?)
}

/// Stops a run.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", params(("id" = String, Path)), tag = "runs",
    responses((status = 200, body = RunItem), (status = "default", body = Problem)))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    Id(id): Id<RunId>,
) -> Result<Json<RunItem>, Problem> {
    stop(&app, id, "cancelled over the API").await.map(Json)
}

/// Stops a run for this reason.
///
/// # Errors
/// If there is none, it has ended, or the service does not answer.
pub async fn stop(app: &App, id: RunId, reason: &str) -> Result<RunItem, Problem> {
    let request = CancelRunRequest { id: id.to_string(), reason: reason.to_owned() };
    call(app.clients.runs.clone().cancel(request)).await?.try_into()
}

/// Runs the same source again.
#[utoipa::path(post, path = "/api/v1/runs/{id}/rerun", params(("id" = String, Path)), tag = "runs",
    request_body = Option<Rerun>,
    responses((status = 201, body = RunItem), (status = "default", body = Problem)))]
pub async fn rerun(
    State(app): State<Arc<App>>,
    Id(id): Id<RunId>,
    OptionalBody(how): OptionalBody<Rerun>,
) -> Result<Response, Problem> {
    made(StatusCode::CREATED, again(&app, id, how.only_failed).await?)
}

/// Runs the same source again, or only what did not pass of it.
///
/// # Errors
/// If there is no such run, it can't run again, or the service does not answer.
pub async fn again(app: &App, id: RunId, only_failed: bool) -> Result<RunItem, Problem> {
    let request = RerunRequest { id: id.to_string(), only_failed };
    call(app.clients.runs.clone().rerun(request)).await?.try_into()
}

fn made(status: StatusCode, run: RunItem) -> Result<Response, Problem> {
    let location = format!("/api/v1/runs/{}", run.id);
    Ok((status, [(header::LOCATION, location)], Json(run)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=MAX_KEY_BYTES).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(Problem::invalid(format!(
            "the header Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters"
        ))),
    }
}
