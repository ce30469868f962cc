//! Webhooks of forges: authorised by their signature, handed on as they are.

pub mod body;
pub mod github;
pub mod signature;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::router::App;

/// `GET /api/webhooks/health`: whether webhooks are taken.
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let has_secret = app.config.webhook_secret.is_some();
    let status = if has_secret { "ok" } else { "no secret" };
    Json(json!({ "status": status, "webhookSecret": has_secret })).into_response()
}

/// `POST /api/webhooks/github/ping`: whether this address is reached at all.
pub async fn ping() -> Response {
    Json(json!({ "message": "pong" })).into_response()
}
