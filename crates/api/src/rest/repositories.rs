//! `/api/v1/repos`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sandgate_domain::Timestamp;
use sandgate_wire::pulls::v1::{
    AddRepositoryRequest, ListRepositoriesRequest, RemoveRepositoryRequest, Repository,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::Page;
use crate::clients::call;
use crate::extract::{Body, Params};
use crate::problem::Problem;
use crate::router::App;
use crate::text::rfc3339;

/// A known repository.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Repository)]
pub struct RepositoryItem {
    /// Such as `owner/name`.
    pub name: String,
    /// Its folder on the machine of the server.
    pub path: String,
    pub default_branch: String,
    pub added_at: String,
}

/// A repository to make known.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepository {
    /// Such as `owner/name`.
    pub name: String,
    /// A folder on the machine of the server: a checkout or a bare repository.
    pub path: String,
}

/// Nothing can be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// All known repositories, on one page.
#[utoipa::path(get, path = "/api/v1/repos", tag = "repositories",
    responses((status = 200, body = Page<RepositoryItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Page<RepositoryItem>>, Problem> {
    let reply = call(app.clients.repositories.clone().list(ListRepositoriesRequest {})).await?;
    let items = reply.repositories.into_iter().map(RepositoryItem::from).collect();
    Ok(Json(Page { items, next_page_token: None }))
}

/// Makes a repository known.
#[utoipa::path(post, path = "/api/v1/repos", request_body = NewRepository, tag = "repositories",
    responses((status = 201, body = RepositoryItem), (status = "default", body = Problem)))]
pub async fn add(
    State(app): State<Arc<App>>,
    Body(new): Body<NewRepository>,
) -> Result<(StatusCode, Json<RepositoryItem>), Problem> {
    let NewRepository { name, path } = new;
    let request = AddRepositoryRequest { name, path };
    let added = call(app.clients.repositories.clone().add(request)).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Forgets a repository; its folder stays as it is.
#[utoipa::path(delete, path = "/api/v1/repos/{owner}/{name}", tag = "repositories",
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn remove(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path((owner, name)) =
        path.map_err(|error| Problem::invalid(format!("path: {}", error.body_text())))?;
    let request = RemoveRepositoryRequest { name: format!("{owner}/{name}") };
    call(app.clients.repositories.clone().remove(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Repository> for RepositoryItem {
    fn from(repository: Repository) -> Self {
        Self {
            name: repository.name,
            path: repository.path,
            default_branch: repository.default_branch,
            added_at: rfc3339(Timestamp::from_micros(repository.added_at)),
        }
    }
}
