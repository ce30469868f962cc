//! The listener that services of other processes call: only those who know the shared secret, health apart.

use std::pin::pin;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use super::{Listener, ServerLimits, builder, serve};
use crate::{Error, Secret, Shutdown};

/// How often a silent peer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const PING_ANSWER: Duration = Duration::from_secs(10);
/// Whoever watches over processes may ask for health without the secret.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Answers gRPC calls that carry the secret, and health checks, until the soft stop; then as [`super::serve_http`].
///
/// # Errors
/// If the runtime can't watch the socket.
pub async fn serve_grpc(
    listener: Listener,
    routes: Routes,
    secret: Secret,
    limits: ServerLimits,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let router = routes.add_service(health).into_axum_router().layer(from_fn(
        move |request: Request, next: Next| {
            let allowed = is_allowed(&request, &secret);
            async move { if allowed { next.run(request).await } else { refusal() } }
        },
    ));
    let mut builder = builder(limits);
    builder.http2().keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_ANSWER);
    let soft = shutdown.soft.clone();
    let mut serving = pin!(serve(listener, router, limits, builder, shutdown));
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = soft.cancelled() => {}
    }
    reporter.set_service_status("", ServingStatus::NotServing).await;
    serving.await
}

fn is_allowed(request: &Request, secret: &Secret) -> bool {
    if request.uri().path().starts_with(HEALTH) {
        return true;
    }
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    presented.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|key| secret.matches(key))
}

fn refusal() -> Response {
    Status::unauthenticated("the call carries no valid secret of this installation").into_http()
}
