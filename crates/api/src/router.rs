//! All routes, and what every request passes before and after its handler.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;

use crate::access::{self, login};
use crate::clients::Clients;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::{dashboard, observe, operations, rest, webhooks};

/// The largest body of any route but the webhook, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How many streams may be open at the same time.
const MAX_STREAMS: usize = 512;

/// What handlers share.
pub struct App {
    pub config: Config,
    pub clients: Clients,
    pub metrics: Metrics,
    pub openapi: OpenApi,
    pub streams: Arc<Semaphore>,
}

/// The front doors as one router.
pub fn router(mut config: Config, clients: Clients) -> Router {
    let (rest, openapi) = rest::routes();
    let metrics = Metrics::new(std::mem::take(&mut config.metrics));
    let streams = Arc::new(Semaphore::new(MAX_STREAMS));
    let app = Arc::new(App { config, clients, metrics, openapi, streams });
    Router::new()
        .merge(rest)
        .merge(operations::routes())
        .merge(dashboard::routes())
        .route("/login", get(login::link).post(login::form))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route("/api/webhooks/github", post(webhooks::github::receive))
        .route("/api/webhooks/github/ping", post(webhooks::ping))
        .route("/api/webhooks/health", get(webhooks::health))
        .fallback(operations::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), access::guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}
