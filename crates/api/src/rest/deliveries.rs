//! `/api/v1/deliveries`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sandgate_domain::Timestamp;
use sandgate_wire::pulls::v1::{Delivery, ListDeliveriesRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{self, Page, PageQuery};
use crate::clients::call;
use crate::extract::Params;
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
}

/// Deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", params(PageQuery), tag = "deliveries",
    responses((status = 200, body = Page<DeliveryItem>), (status = "default", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<DeliveryItem>>, Problem> {
    let request = ListDeliveriesRequest {
        page_size: page::page_size(query.page_size)?,
        page_token: page::text("pageToken", query.page_token)?,
    };
    let reply = call(app.clients.pull_requests.clone().list_deliveries(request)).await?;
    let items = reply.deliveries.into_iter().map(DeliveryItem::from).collect();
    Ok(Json(Page { items, next_page_token: reply.next_page_token }))
}

impl From<Delivery> for DeliveryItem {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event: delivery.event,
            repo: delivery.repository,
            outcome: delivery.outcome,
            reason: delivery.reason,
            received_at: rfc3339(Timestamp::from_micros(delivery.received_at)),
        }
    }
}
