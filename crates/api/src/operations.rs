//! What operators and their tools ask: alive, ready, version, metrics, the description of the API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use sandgate_domain::ErrorCode;
use sandgate_wire::pulls::v1::ListRepositoriesRequest;
use sandgate_wire::runs::v1::ListRunsRequest;
use sandgate_wire::sandboxes::v1::ListRequest;
use sandgate_wire::snapshots::v1::ListSnapshotsRequest;
use serde_json::json;

use crate::clients::call;
use crate::problem::Problem;
use crate::router::App;

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
}

/// Whatever has no route.
pub async fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no such route; /openapi.json describes all of them")
}

async fn livez() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Ready when every service answers a small question.
async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let mut clients = app.clients.clone();
    let (runs, pulls, snapshots, sandboxes) = tokio::join!(
        call(clients.runs.list(ListRunsRequest { page_size: 1, ..ListRunsRequest::default() })),
        call(clients.repositories.list(ListRepositoriesRequest {})),
        call(
            clients
                .snapshots
                .list(ListSnapshotsRequest { page_size: 1, ..ListSnapshotsRequest::default() })
        ),
        call(clients.sandboxes.list(ListRequest { page_size: 1, ..ListRequest::default() })),
    );
    let answers = [
        ("runs", runs.err()),
        ("pull requests", pulls.err()),
        ("snapshots", snapshots.err()),
        ("sandboxes", sandboxes.err()),
    ];
    let missing: Vec<&str> =
        answers.iter().filter(|(_, error)| error.is_some()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(Json(json!({ "status": "ready" })).into_response());
    }
    let causes: Vec<String> = answers
        .iter()
        .filter_map(|(name, error)| Some(format!("{name}: {}", error.as_ref()?.detail)))
        .collect();
    let detail = format!("these services do not answer: {}", missing.join(", "));
    Err(Problem::new(ErrorCode::Unavailable, detail).because(causes.join("; ")))
}

async fn version(State(app): State<Arc<App>>) -> Response {
    Json(json!({ "name": "sandgate", "version": app.config.version, "api": ["v1"] }))
        .into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.metrics.text().map_err(|error| {
        Problem::new(ErrorCode::Internal, "the metrics can't be written").because(error.to_string())
    })?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, media)], text).into_response())
}

async fn openapi(State(app): State<Arc<App>>) -> Response {
    Json(&app.openapi).into_response()
}
