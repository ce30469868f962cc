//! `/api/v1/sandboxes`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sandgate_domain::Timestamp;
use sandgate_wire::sandboxes::v1::{ListRequest, SandboxRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{self, Page, PageQuery};
use crate::clients::call;
use crate::extract::Params;
use crate::problem::Problem;
use crate::router::App;
use crate::text::rfc3339;

/// A sandbox that lives.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Sandbox)]
pub struct SandboxItem {
    pub id: String,
    /// The machine it lives on.
    pub node: String,
    pub run: Option<String>,
    /// The gate it works for.
    pub gate: Option<String>,
    pub state: String,
    pub created_at: String,
    /// When it was made, as pages need it.
    #[serde(skip)]
    pub created: Timestamp,
}

/// The sandboxes that live.
#[utoipa::path(get, path = "/api/v1/sandboxes", params(PageQuery), tag = "sandboxes",
    responses((status = 200, body = Page<SandboxItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<SandboxItem>>, Problem> {
    find(&app, query).await.map(Json)
}

/// The page of sandboxes that a query asks for.
///
/// # Errors
/// If the query is wrong, or the service does not answer.
pub async fn find(app: &App, query: PageQuery) -> Result<Page<SandboxItem>, Problem> {
    let request = ListRequest {
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
    };
    let reply = call(app.clients.sandboxes.clone().list(request)).await?;
    let items = reply.sandboxes.into_iter().map(SandboxItem::from).collect();
    Ok(Page { items, next_page_token: reply.next_page_token })
}

impl From<SandboxRow> for SandboxItem {
    fn from(row: SandboxRow) -> Self {
        let created = Timestamp::from_micros(row.created_at);
        Self {
            id: row.id,
            node: row.node,
            run: row.run,
            gate: row.step,
            state: row.state,
            created_at: rfc3339(created),
            created,
        }
    }
}
