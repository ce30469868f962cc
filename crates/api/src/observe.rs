//! Around every request: counted, timed, logged once, and the headers that every answer has.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, Response as HttpResponse};
use axum::middleware::Next;
use axum::response::Response;

use crate::metrics::{RequestLabels, RouteLabels};
use crate::problem::{Cause, Code};
use crate::router::App;

/// What every answer carries: no sniffing, no framing, no scripts but our files, no addresses to other sites.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Runs the rest and tells what came of it. Queries are never logged: they may hold a token.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    app.metrics
        .requests
        .get_or_create(&RequestLabels { method, route: route.clone(), status })
        .inc();
    let duration = app.metrics.durations.get_or_create(&RouteLabels { route: route.clone() });
    duration.observe(elapsed.as_secs_f64());
    drop(duration);
    log(method, &route, elapsed.as_micros(), &response);
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn log<B>(method: &str, route: &str, micros: u128, response: &HttpResponse<B>) {
    let status = response.status();
    let code = response.extensions().get::<Code>().map_or("", |code| code.0);
    let cause = response.extensions().get::<Cause>().map_or("", |cause| cause.0.as_str());
    if status.is_server_error() {
        tracing::error!(
            http.method = method,
            http.route = route,
            http.status = status.as_u16(),
            http.duration_us = micros,
            error.code = code,
            error.cause = cause,
            "request failed"
        );
    } else {
        tracing::debug!(
            http.method = method,
            http.route = route,
            http.status = status.as_u16(),
            http.duration_us = micros,
            error.code = code,
            error.cause = cause,
            "request answered"
        );
    }
}

/// The method as a label: callers may invent any number of others.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
