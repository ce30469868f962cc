//! `/api/v1/deliveries`: what forges delivered and what became of it; one that was not acted on can be looked at again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sandgate_domain::Timestamp;
use sandgate_wire::pulls::v1::{AcceptReply, Delivery, ListDeliveriesRequest, RedeliverRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{self, Page, PageQuery};
use crate::clients::call;
use crate::extract::{Id, Params};
use crate::problem::Problem;
use crate::router::App;
use crate::text::rfc3339;

/// One delivery of a forge.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryItem {
    pub id: String,
    pub event: String,
    pub repo: Option<String>,
    pub outcome: String,
    pub reason: Option<String>,
    pub received_at: String,
    /// When it came, as pages need it.
    #[serde(skip)]
    pub received: Timestamp,
}

/// What became of a delivery that was looked at again.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redelivered {
    pub delivery_id: String,
    /// `queued`, `duplicate` if it was acted on before, or `ignored`.
    pub outcome: String,
    pub reason: Option<String>,
}

/// Deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", params(PageQuery), tag = "deliveries",
    responses((status = 200, body = Page<DeliveryItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<DeliveryItem>>, Problem> {
    find(&app, query).await.map(Json)
}

/// The page of deliveries that a query asks for.
///
/// # Errors
/// If the query is wrong, or the service does not answer.
pub async fn find(app: &App, query: PageQuery) -> Result<Page<DeliveryItem>, Problem> {
    let request = ListDeliveriesRequest {
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
    };
    let reply = call(app.clients.pull_requests.clone().list_deliveries(request)).await?;
    let items = reply.deliveries.into_iter().map(DeliveryItem::from).collect();
    Ok(Page { items, next_page_token: reply.next_page_token })
}

/// Looks at a stored delivery again: one that was ignored or failed is acted on as if it came now, any other is a duplicate.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/redeliver", params(("id" = String, Path)), tag = "deliveries",
    responses((status = 200, body = Redelivered), (status = "default", body = Problem)))]
pub async fn redeliver(
    State(app): State<Arc<App>>,
    Id(id): Id<String>,
) -> Result<Json<Redelivered>, Problem> {
    take_again(&app, id).await.map(Json)
}

/// Takes a stored delivery in again.
///
/// # Errors
/// If there is none of this id, or the service does not answer.
pub async fn take_again(app: &App, id: String) -> Result<Redelivered, Problem> {
    let delivery_id = page::text("id", Some(id))?.unwrap_or_default();
    let request = RedeliverRequest { delivery_id: delivery_id.clone() };
    let reply = call(app.clients.pull_requests.clone().redeliver(request)).await?;
    let AcceptReply { outcome, reason } = reply;
    Ok(Redelivered { delivery_id, outcome, reason })
}

impl From<Delivery> for DeliveryItem {
    fn from(delivery: Delivery) -> Self {
        let received = Timestamp::from_micros(delivery.received_at);
        Self {
            id: delivery.id,
            event: delivery.event,
            repo: delivery.repository,
            outcome: delivery.outcome,
            reason: delivery.reason,
            received_at: rfc3339(received),
            received,
        }
    }
}
