//! `POST /api/webhooks/github`: verified over the raw bytes before anything is parsed, then stored before it is answered.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sandgate_domain::ErrorCode;
use sandgate_wire::pulls::v1::{AcceptReply, AcceptRequest};
use serde::Serialize;

use super::body;
use super::signature::Signature;
use crate::clients::call;
use crate::metrics::WebhookLabels;
use crate::problem::Problem;
use crate::router::App;

/// The longest delivery id and event name, in bytes.
const MAX_HEADER_BYTES: usize = 128;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    delivery_id: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Takes one delivery.
pub async fn receive(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = accept(&app, &parts.headers, body).await;
    let outcome = match &answer {
        Ok(accepted) => known_outcome(&accepted.outcome),
        Err(problem) if problem.status >= 500 => "unavailable",
        Err(_) => "refused",
    };
    app.metrics.webhooks.get_or_create(&WebhookLabels { outcome }).inc();
    match answer {
        Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn accept(app: &App, headers: &HeaderMap, body: Body) -> Result<Accepted, Problem> {
    let Some(secret) = &app.config.webhook_secret else {
        return Err(no_secret());
    };
    body::check_told_length(headers)?;
    let signature = Signature::from_headers(headers).ok_or_else(bad_signature)?;
    let raw = body::read(body).await?;
    if !signature.verifies(secret, &raw) {
        return Err(bad_signature());
    }
    let delivery_id = single_header(headers, "x-github-delivery")?;
    let event = single_header(headers, "x-github-event")?;
    let body = body::json_object(headers, raw)?;
    let request = AcceptRequest {
        delivery_id: delivery_id.clone(),
        event,
        body,
        content_type: "application/json".to_owned(),
    };
    let mut client = app.clients.pull_requests.clone();
    let AcceptReply { outcome, reason } = call(client.accept(request)).await.map_err(stored)?;
    Ok(Accepted { delivery_id, outcome, reason })
}

/// Whatever keeps a delivery from being stored is a 503: the forge shows it as failed, and it can be sent again.
fn stored(problem: Problem) -> Problem {
    let is_answer = [ErrorCode::InvalidArgument, ErrorCode::Conflict]
        .iter()
        .any(|code| problem.code == code.as_str());
    if is_answer {
        return problem;
    }
    let cause = format!("{}: {}", problem.code, problem.cause_text());
    let detail = "the delivery could not be stored; send it again";
    Problem::new(ErrorCode::Unavailable, detail).because(cause)
}

fn single_header(headers: &HeaderMap, name: &'static str) -> Result<String, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        return Err(Problem::invalid(format!("the header {name} is missing")));
    };
    if second.is_some() {
        return Err(Problem::invalid(format!("the header {name} is there twice")));
    }
    let is_plain = (1..=MAX_HEADER_BYTES).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(text) if is_plain => Ok(text.to_owned()),
        _ => Err(Problem::invalid(format!(
            "the header {name} must be 1 to {MAX_HEADER_BYTES} visible ASCII characters"
        ))),
    }
}

fn bad_signature() -> Problem {
    let detail =
        "the header x-hub-signature-256 is not the HMAC-SHA256 of the body with our webhook secret";
    Problem::with_status(StatusCode::UNAUTHORIZED, "bad_signature", detail)
}

fn no_secret() -> Problem {
    let detail = "webhooks are switched off: set GITHUB_WEBHOOK_SECRET to the secret that the forge signs with";
    Problem::new(ErrorCode::Unavailable, detail)
}

/// The outcome as a label.
fn known_outcome(outcome: &str) -> &'static str {
    match outcome {
        "queued" => "queued",
        "duplicate" => "duplicate",
        "ignored" => "ignored",
        _ => "other",
    }
}
