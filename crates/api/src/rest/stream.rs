//! Event streams: bounded in number, counted while open, resumable.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::sse::Event;
use prometheus_client::metrics::gauge::Gauge;
use sandgate_domain::ErrorCode;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::problem::Problem;
use crate::router::App;

/// The right to keep one stream open; given back when dropped.
pub struct OpenStream {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl OpenStream {
    /// Takes one of the streams that may be open.
    ///
    /// # Errors
    /// If all of them are.
    pub fn take(app: &App) -> Result<Self, Problem> {
        let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
            Problem::new(ErrorCode::ResourceExhausted, "too many streams are open; try again later")
        })?;
        let open = app.metrics.streams.clone();
        open.inc();
        Ok(Self { _permit: permit, open })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The number in `Last-Event-ID`: what the caller has seen before its connection broke.
///
/// # Errors
/// If it is no number of ours.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID must be a number that we sent"))
}

/// One event with a name, an id and JSON.
pub fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Result<Event, Infallible> {
    let text = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let event = Event::default().event(name).data(text);
    Ok(match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    })
}

/// The last event of a stream that came to its end: there is nothing to reconnect for.
pub fn end() -> Result<Event, Infallible> {
    Ok(Event::default().event("end").data("{}"))
}

/// The last event of a stream that broke; a caller that connects again goes on behind what it has seen.
pub fn broken(status: Status) -> Result<Event, Infallible> {
    let problem = Problem::from(status);
    tracing::warn!(error.code = problem.code, error.cause = problem.cause_text(), "stream broke");
    event("problem", None, &problem)
}
