//! `/api/v1/runs/{id}/events`: every change of a run as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use sandgate_domain::RunId;
use sandgate_wire::runs::v1::{GetRunRequest, RunEvent};
use serde::Serialize;
use tonic::Streaming;

use super::run_item::{RunItem, unreadable};
use super::stream::{OpenStream, broken, end, event, last_event_id};
use crate::clients::call;
use crate::extract::Id;
use crate::problem::Problem;
use crate::router::App;

#[derive(Serialize)]
struct Change {
    /// The gate or setup that changed; null if the run itself did.
    step: Option<String>,
    run: RunItem,
}

/// Every change of a run, starting with its current state. Events `change` hold `{step, run}` and are numbered; `Last-Event-ID`
/// leaves out what was seen. `end` comes after the verdict; `problem` if the stream breaks.
#[utoipa::path(get, path = "/api/v1/runs/{id}/events", tag = "runs",
    params(("id" = String, Path), ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = Problem)))]
pub async fn events(
    State(app): State<Arc<App>>,
    Id(id): Id<RunId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let seen = last_event_id(&headers)?;
    let open = OpenStream::take(&app)?;
    let changes =
        call(app.clients.runs.clone().watch(GetRunRequest { id: id.to_string() })).await?;
    let events = stream::unfold(Some((changes, open)), move |state| next(state, seen));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

type Watching = Option<(Streaming<RunEvent>, OpenStream)>;

async fn next(state: Watching, seen: Option<u64>) -> Option<(Result<Event, Infallible>, Watching)> {
    let (mut changes, open) = state?;
    loop {
        match changes.message().await {
            Ok(Some(change)) if seen.is_some_and(|seen| change.sequence <= seen) => {}
            Ok(Some(change)) => return Some((encode(change), Some((changes, open)))),
            Ok(None) => return Some((end(), None)),
            Err(status) => return Some((broken(status), None)),
        }
    }
}

fn encode(change: RunEvent) -> Result<Event, Infallible> {
    let run = change.run.ok_or_else(|| unreadable("an event without its run"));
    match run.and_then(RunItem::try_from) {
        Ok(run) => event("change", Some(change.sequence), &Change { step: change.step, run }),
        Err(problem) => event("problem", None, &problem),
    }
}
