//! `/api/v1/gates/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use sandgate_domain::StepId;
use sandgate_wire::runs::v1::GetGateRequest;

use super::gate_item::GateItem;
use crate::clients::call;
use crate::extract::Id;
use crate::problem::Problem;
use crate::router::App;

/// One gate or setup of a run.
#[utoipa::path(get, path = "/api/v1/gates/{id}", params(("id" = String, Path)), tag = "gates",
    responses((status = 200, body = GateItem), (status = "default", body = Problem)))]
pub async fn get(
    State(app): State<Arc<App>>,
    Id(id): Id<StepId>,
) -> Result<Json<GateItem>, Problem> {
    load(&app, id).await.map(Json)
}

/// One gate or setup.
///
/// # Errors
/// If there is none, or the service does not answer.
pub async fn load(app: &App, id: StepId) -> Result<GateItem, Problem> {
    call(app.clients.runs.clone().get_gate(GetGateRequest { id: id.to_string() })).await?.try_into()
}
