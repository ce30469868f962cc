//! `/api/v1/gates/{id}/log`: the output of a gate, as it is or followed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, stream};
use sandgate_domain::StepId;
use sandgate_wire::runs::v1::{LogChunk, ReadLogRequest};
use serde::{Deserialize, Serialize};
use tonic::Streaming;
use utoipa::IntoParams;

use super::stream::{OpenStream, broken, end, event, last_event_id};
use crate::clients::call;
use crate::extract::{Id, Params};
use crate::problem::Problem;
use crate::router::App;
use crate::text::plain;

/// From where.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The first byte; default 0.
    pub offset: Option<u64>,
}

/// The output of a gate from an offset. As text it is what was written until now, byte for byte. With
/// `Accept: text/event-stream` it is followed until the gate ends, in events `log` with `{offset, text}`, where terminal
/// escapes are taken out; their ids are offsets, so that `Last-Event-ID` goes on behind what was seen.
#[utoipa::path(get, path = "/api/v1/gates/{id}/log", tag = "gates",
    params(("id" = String, Path), LogQuery, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, content((String = "text/plain"), (String = "text/event-stream"))),
        (status = "default", body = Problem)))]
pub async fn log(
    State(app): State<Arc<App>>,
    Id(id): Id<StepId>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|media| media.contains("text/event-stream")) {
        return Ok(follow(&app, id, query, &headers).await?.into_response());
    }
    let open = OpenStream::take(&app)?;
    let chunks = read(&app, id, query.offset.unwrap_or(0), false).await?;
    let bytes = stream::unfold((chunks, open), |(mut chunks, open)| async move {
        match chunks.message().await {
            Ok(Some(chunk)) => Some((Ok(chunk.data), (chunks, open))),
            Ok(None) => None,
            Err(status) => {
                tracing::warn!(error.cause = status.message(), "a log broke off while it was sent");
                Some((Err(std::io::Error::other("the log broke off")), (chunks, open)))
            }
        }
    });
    let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((media, Body::from_stream(bytes)).into_response())
}

/// The output from an offset as events.
///
/// # Errors
/// If there is no such gate, or too many streams are open.
pub async fn follow(
    app: &App,
    id: StepId,
    query: LogQuery,
    headers: &HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
    let offset = last_event_id(headers)?.or(query.offset).unwrap_or(0);
    let open = OpenStream::take(app)?;
    let chunks = read(app, id, offset, true).await?;
    let follower = Follower { chunks, offset, pending: Vec::new(), _open: open };
    let events = stream::unfold(Some(follower), |state| async move { state?.next().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The output of a gate in chunks.
///
/// # Errors
/// If there is no such gate, or the service does not answer.
pub async fn read(
    app: &App,
    id: StepId,
    offset: u64,
    follow: bool,
) -> Result<Streaming<LogChunk>, Problem> {
    let request = ReadLogRequest { step: id.to_string(), offset, follow };
    call(app.clients.runs.clone().read_log(request)).await
}

struct Follower {
    chunks: Streaming<LogChunk>,
    /// Where `pending` starts.
    offset: u64,
    /// The start of a character or an escape whose rest has not come.
    pending: Vec<u8>,
    _open: OpenStream,
}

#[derive(Serialize)]
struct LogText {
    offset: u64,
    text: String,
}

type Next = Option<(Result<Event, Infallible>, Option<Follower>)>;

impl Follower {
    async fn next(mut self) -> Next {
        loop {
            match self.chunks.message().await {
                Ok(Some(chunk)) => {
                    self.pending.extend_from_slice(&chunk.data);
                    if let Some(event) = self.take_text(false) {
                        return Some((event, Some(self)));
                    }
                }
                Ok(None) => match self.take_text(true) {
                    Some(event) => return Some((event, Some(self))),
                    None => return Some((end(), None)),
                },
                Err(status) => return Some((broken(status), None)),
            }
        }
    }

    /// The text that is complete by now, as an event whose id is where the next one starts.
    fn take_text(&mut self, is_last: bool) -> Option<Result<Event, Infallible>> {
        let (text, used) = plain(&self.pending, is_last);
        if used == 0 {
            return None;
        }
        self.pending.drain(..used);
        let start = self.offset;
        self.offset += used as u64;
        Some(event("log", Some(self.offset), &LogText { offset: start, text }))
    }
}
