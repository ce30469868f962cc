//! `/api/v1/snapshots`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sandgate_domain::{RunId, SnapshotId, Timestamp};
use sandgate_wire::snapshots::v1::{
    DeleteSnapshotRequest, GetSnapshotRequest, ListSnapshotsRequest, Snapshot,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{self, Page};
use super::run_item::{convert, unreadable};
use crate::clients::call;
use crate::extract::{Id, Params};
use crate::problem::Problem;
use crate::router::App;
use crate::text::rfc3339;

/// One snapshot.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Snapshot)]
pub struct SnapshotItem {
    pub id: String,
    pub repo: String,
    pub run: String,
    /// The gate it was made of; null if it is of the run.
    pub gate: Option<String>,
    /// `debug`, `approved` or `setup`.
    pub kind: String,
    /// `sealing`, `local` or `deleted`.
    pub state: String,
    /// The lowest first.
    pub layers: Vec<String>,
    pub base_fingerprint: String,
    /// How it is entered: environment, directory, commands, resources, network.
    #[schema(value_type = Object)]
    pub entry: serde_json::Value,
    pub pinned: bool,
    pub bytes: u64,
    pub created_at: String,
    /// When it may be removed; null means never by itself.
    pub expires_at: Option<String>,
    /// When it was made, as pages need it.
    #[serde(skip)]
    pub created: Timestamp,
    /// When it may be removed, as pages need it.
    #[serde(skip)]
    pub expires: Option<Timestamp>,
}

/// Which snapshots.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotsQuery {
    /// Of this repository.
    pub repo: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// 1 to 200; default 50.
    pub page_size: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// Snapshots, newest first.
#[utoipa::path(get, path = "/api/v1/snapshots", params(SnapshotsQuery), tag = "snapshots",
    responses((status = 200, body = Page<SnapshotItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<SnapshotsQuery>,
) -> Result<Json<Page<SnapshotItem>>, Problem> {
    find(&app, query).await.map(Json)
}

/// The page of snapshots that a query asks for.
///
/// # Errors
/// If the query is wrong, or the service does not answer.
pub async fn find(app: &App, query: SnapshotsQuery) -> Result<Page<SnapshotItem>, Problem> {
    let run = page::text("run", query.run)?;
    if let Some(Err(error)) = run.as_deref().map(str::parse::<RunId>) {
        return Err(Problem::invalid(format!("query: run: {error}")));
    }
    let request = ListSnapshotsRequest {
        repository: page::text("repo", query.repo)?,
        run,
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
    };
    let reply = call(app.clients.snapshots.clone().list(request)).await?;
    Ok(Page { items: convert(reply.snapshots)?, next_page_token: reply.next_page_token })
}

/// One snapshot.
#[utoipa::path(get, path = "/api/v1/snapshots/{id}", params(("id" = String, Path)), tag = "snapshots",
    responses((status = 200, body = SnapshotItem), (status = "default", body = Problem)))]
pub async fn get(
    State(app): State<Arc<App>>,
    Id(id): Id<SnapshotId>,
) -> Result<Json<SnapshotItem>, Problem> {
    let request = GetSnapshotRequest { id: id.to_string() };
    Ok(Json(call(app.clients.snapshots.clone().get(request)).await?.try_into()?))
}

/// Removes a snapshot; its record stays.
#[utoipa::path(delete, path = "/api/v1/snapshots/{id}", params(("id" = String, Path)), tag = "snapshots",
    responses((status = 200, body = SnapshotItem), (status = "default", body = Problem)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Id(id): Id<SnapshotId>,
) -> Result<Json<SnapshotItem>, Problem> {
    let request = DeleteSnapshotRequest { id: id.to_string() };
    Ok(Json(call(app.clients.snapshots.clone().delete(request)).await?.try_into()?))
}

impl TryFrom<Snapshot> for SnapshotItem {
    type Error = Problem;

    fn try_from(snapshot: Snapshot) -> Result<Self, Problem> {
        let entry = serde_json::from_str(&snapshot.entry)
            .map_err(|error| unreadable(&format!("snapshot.entry: {error}")))?;
        let (created, expires) = (snapshot.created(), snapshot.expires());
        Ok(Self {
            id: snapshot.id,
            repo: snapshot.repository,
            run: snapshot.run,
            gate: snapshot.gate,
            kind: snapshot.kind,
            state: snapshot.state,
            layers: snapshot.layers,
            base_fingerprint: snapshot.base_fingerprint,
            entry,
            pinned: snapshot.pinned,
            bytes: snapshot.bytes,
            created_at: rfc3339(created),
            expires_at: expires.map(rfc3339),
            created,
            expires,
        })
    }
}
