//! One gate: how it went, and its output, live while it runs.

use std::collections::VecDeque;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sandgate_domain::{ErrorCode, StepId};
use sandgate_wire::runs::v1::LogChunk;
use tonic::{Status, Streaming};

use super::view::{GateRow, millis};
use super::{Frame, answer, command, render};
use crate::clients::bounded;
use crate::extract::Id;
use crate::problem::Problem;
use crate::rest::gate_item::GateItem;
use crate::rest::{gates, log};
use crate::router::App;
use crate::text;

/// How much of the end of the output a page shows, in bytes.
const TAIL_BYTES: usize = 256 << 10;

#[derive(Template)]
#[template(path = "gate.html")]
struct GatePage {
    frame: Frame,
    gate: GateRow,
    run: String,
    queued: String,
    started: String,
    debug_command: Option<String>,
    snapshot: Option<String>,
    log: String,
    /// How much of the output lies before what is shown.
    left_out: Option<String>,
    /// Where the output goes on.
    offset: u64,
}

/// `GET /gates/{id}`.
pub async fn page(State(app): State<Arc<App>>, id: Result<Id<StepId>, Problem>) -> Response {
    let page = match id {
        Ok(Id(id)) => show(&app, id).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn show(app: &App, id: StepId) -> Result<Response, Problem> {
    let gate = gates::load(app, id).await?;
    let tail = Tail::read(app, id).await?;
    let debug_command =
        is_debuggable(&gate).then(|| command(app, &["debug", &gate.name, "--run", &gate.run]));
    let start = tail.end - tail.bytes.len() as u64;
    let shown = Vec::from(tail.bytes);
    let (log, used) = text::plain(&shown, gate.result.is_some());
    render(&GatePage {
        frame: Frame::new(app, "runs"),
        queued: millis(gate.queue_ms),
        started: millis(gate.start_ms),
        gate: GateRow::new(app, &gate),
        run: gate.run,
        debug_command,
        snapshot: gate.snapshot,
        log,
        left_out: (start > 0).then(|| text::bytes(start)),
        offset: start + used as u64,
    })
}

fn is_debuggable(gate: &GateItem) -> bool {
    let passed = matches!(gate.result.as_deref(), None | Some("success" | "skip"));
    gate.snapshot.is_some() && !passed
}

/// The end of the output.
struct Tail {
    bytes: VecDeque<u8>,
    /// The length of the whole output.
    end: u64,
}

impl Tail {
    async fn read(app: &App, id: StepId) -> Result<Self, Problem> {
        match log::read(app, id, 0, false).await {
            Ok(chunks) => bounded(Self::collect(chunks)).await,
            // A gate that never started has no output.
            Err(problem) if problem.code == ErrorCode::NotFound.as_str() => {
                Ok(Self { bytes: VecDeque::new(), end: 0 })
            }
            Err(problem) => Err(problem),
        }
    }

    async fn collect(mut chunks: Streaming<LogChunk>) -> Result<Self, Status> {
        let mut tail = Self { bytes: VecDeque::new(), end: 0 };
        while let Some(chunk) = chunks.message().await? {
            tail.end += chunk.data.len() as u64;
            tail.bytes.extend(&chunk.data);
            let over = tail.bytes.len().saturating_sub(TAIL_BYTES);
            tail.bytes.drain(..over);
        }
        Ok(tail)
    }
}
