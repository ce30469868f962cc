//! The gRPC side of runs: parse, call one function, convert the reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{
    ErrorCode, GateResult, Run, RunId, Step, StepId, StepKind, StepState, Timestamp,
};
use sandgate_engine::admission::Waiting;
use sandgate_store::{Cursor, PageRequest, RunFilter};
use sandgate_wire::common::v1 as common;
use sandgate_wire::runs::v1 as wire;
use sandgate_wire::{optional_field, required_field, status};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::agent::{Agent, Saved, needed};
use crate::error::Error;
use crate::logs::{Logs, Span};
use crate::planning::Planner;
use crate::progress::Stream;

/// How many bytes of a log are sent in one piece.
const CHUNK_BYTES: u64 = 64 << 10;
/// How often a log that is followed is looked at.
const FOLLOW: Duration = Duration::from_millis(100);
/// How often a run that is watched is looked at, if nothing wakes the watcher.
const LOOK: Duration = Duration::from_secs(2);
/// How many messages wait for a slow reader.
const BUFFER: usize = 16;
/// How many logs are read from the disk at the same time.
const LOG_READS: usize = 4;

type Reply<T> = Result<Response<T>, Status>;

/// The `Runs` service.
#[derive(Clone)]
pub struct RunsService {
    agent: Agent,
    planner: Planner,
    reading: Arc<Semaphore>,
}

impl RunsService {
    /// The service over an agent; `planner` makes runs of commits.
    pub fn new(agent: Agent, planner: Planner) -> Self {
        Self { agent, planner, reading: Arc::new(Semaphore::new(LOG_READS)) }
    }

    async fn view(&self, id: RunId) -> Result<wire::Run, Status> {
        let (run, steps) = self.agent.run(id).await.map_err(refuse)?;
        let reasons = reasons(&self.agent, &steps).await.map_err(refuse)?;
        Ok(run_view(&run, &steps, &reasons))
    }
}

/// Why steps that are ready have not begun.
type Reasons = HashMap<StepId, String>;

/// Asked for only if one of these steps is ready.
async fn reasons(agent: &Agent, steps: &[Step]) -> Result<Reasons, Error> {
    if steps.iter().any(|step| step.state == StepState::Ready) {
        return agent.reasons().await;
    }
    Ok(Reasons::new())
}

#[tonic::async_trait]
impl wire::runs_server::Runs for RunsService {
    type WatchStream = ReceiverStream<Result<wire::RunEvent, Status>>;
    type ReadLogStream = ReceiverStream<Result<wire::LogChunk, Status>>;

    async fn create_from_commit(
        &self,
        request: Request<wire::CreateFromCommitRequest>,
    ) -> Reply<wire::CreateRunReply> {
        let request = request.into_inner();
        let key = request.idempotency_key.map(|key| format!("request:{key}"));
        let (made, existed) = self
            .planner
            .run_commit(&request.repository, &request.sha, key)
            .await
            .map_err(refuse)?;
        let run = self.view(made).await?;
        Ok(Response::new(wire::CreateRunReply { run: Some(run), existed }))
    }

    async fn get(&self, request: Request<wire::GetRunRequest>) -> Reply<wire::Run> {
        let id = required_field("id", &request.into_inner().id)?;
        Ok(Response::new(self.view(id).await?))
    }

    async fn list(&self, request: Request<wire::ListRunsRequest>) -> Reply<wire::ListRunsReply> {
        let request = request.into_inner();
        let filter = RunFilter {
            repository: request.repository,
            sha_prefix: request.sha,
            pull_request: request.pull_request,
            result: optional_field::<GateResult>("result", request.result.as_deref())?,
        };
        let page = PageRequest {
            after: optional_field::<Cursor>("page_token", request.page_token.as_deref())?,
            limit: request.page_size,
        };
        let page = self.agent.list(&filter, &page).await.map_err(refuse)?;
        let mut runs = Vec::new();
        let mut reasons: Option<Reasons> = None;
        for run in &page.items {
            let (_, steps) = self.agent.run(run.id).await.map_err(refuse)?;
            if reasons.is_none() && steps.iter().any(|step| step.state == StepState::Ready) {
                reasons = Some(self.agent.reasons().await.map_err(refuse)?);
            }
            runs.push(run_view(run, &steps, reasons.as_ref().unwrap_or(&Reasons::new())));
        }
        let next_page_token = page.next.map(|cursor| cursor.to_string());
        Ok(Response::new(wire::ListRunsReply { runs, next_page_token }))
    }

    async fn cancel(&self, request: Request<wire::CancelRunRequest>) -> Reply<wire::Run> {
        let request = request.into_inner();
        let id: RunId = required_field("id", &request.id)?;
        self.agent.cancel(id, &request.reason).await.map_err(refuse)?;
        Ok(Response::new(self.view(id).await?))
    }

    async fn rerun(&self, request: Request<wire::RerunRequest>) -> Reply<wire::Run> {
        let request = request.into_inner();
        let id: RunId = required_field("id", &request.id)?;
        let made = self.planner.rerun(id, request.only_failed).await.map_err(refuse)?;
        Ok(Response::new(self.view(made).await?))
    }

    async fn get_gate(&self, request: Request<wire::GetGateRequest>) -> Reply<wire::Gate> {
        let id: StepId = required_field("id", &request.into_inner().id)?;
        let step = self.agent.step(id).await.map_err(refuse)?;
        let (run, steps) = self.agent.run(step.run).await.map_err(refuse)?;
        let reasons = reasons(&self.agent, std::slice::from_ref(&step)).await.map_err(refuse)?;
        Ok(Response::new(gate_view(&run, &step, &steps, &reasons)))
    }

    async fn watch(&self, request: Request<wire::GetRunRequest>) -> Reply<Self::WatchStream> {
        let id: RunId = required_field("id", &request.into_inner().id)?;
        self.agent.run(id).await.map_err(refuse)?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        tokio::spawn(watch(self.agent.clone(), id, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read_log(&self, request: Request<wire::ReadLogRequest>) -> Reply<Self::ReadLogStream> {
        let request = request.into_inner();
        let id: StepId = required_field("step", &request.step)?;
        let step = self.agent.step(id).await.map_err(refuse)?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        let reading = Arc::clone(&self.reading);
        let reader = LogReader { agent: self.agent.clone(), step, sender, reading };
        tokio::spawn(reader.read(request.offset, request.follow));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Sends every change of a run, and leaves nothing behind of one that has ended.
async fn watch(agent: Agent, id: RunId, sender: mpsc::Sender<Result<wire::RunEvent, Status>>) {
    send_changes(&agent, id, &sender).await;
    if agent.run(id).await.is_ok_and(|(run, _)| run.state.result().is_some()) {
        agent.let_go(id);
    }
}

/// Sends every change of a run until its verdict, or until nobody listens.
async fn send_changes(
    agent: &Agent,
    id: RunId,
    sender: &mpsc::Sender<Result<wire::RunEvent, Status>>,
) {
    let mut progress = agent.watch(id);
    let mut last = None;
    loop {
        let found = async {
            let (run, steps) = agent.run(id).await?;
            let reasons = reasons(agent, &steps).await?;
            Ok((run, steps, reasons))
        };
        let (run, steps, reasons) = match found.await {
            Ok(found) => found,
            Err(error) => {
                let _gone = sender.send(Err(refuse(error))).await;
                return;
            }
        };
        let view = run_view(&run, &steps, &reasons);
        if last.as_ref() != Some(&view) {
            let sequence = sequence(&run);
            let event = wire::RunEvent { sequence, run: Some(view.clone()), step: None };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
            last = Some(view);
        }
        if run.state.result().is_some() {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
            () = changed(&mut progress) => {}
        }
    }
}

/// Waits for something other than output.
async fn changed(progress: &mut tokio::sync::broadcast::Receiver<crate::Progress>) {
    loop {
        match progress.recv().await {
            Ok(crate::Progress::Output { .. }) => {}
            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            // The verdict was announced; what is left is to read it.
            Err(tokio::sync::broadcast::error::RecvError::Closed) => {
                return tokio::time::sleep(FOLLOW).await;
            }
        }
    }
}

struct LogReader {
    agent: Agent,
    step: Step,
    sender: mpsc::Sender<Result<wire::LogChunk, Status>>,
    reading: Arc<Semaphore>,
}

/// A piece of a log, and the index as far as it was read.
struct Piece {
    parts: Vec<(Stream, Vec<u8>)>,
    index: Vec<Span>,
}

impl LogReader {
    async fn read(self, mut offset: u64, follow: bool) {
        loop {
            // Asked before reading, so that what was written before the end is not missed.
            let has_ended = match self.agent.step(self.step.id).await {
                Ok(step) => step.state.completion().is_some(),
                Err(_) => true,
            };
            match self.send_from(offset).await {
                Ok(Some(sent)) => offset += sent,
                Ok(None) => return,
                Err(status) => {
                    let _gone = self.sender.send(Err(status)).await;
                    return;
                }
            }
            if has_ended || !follow {
                return;
            }
            tokio::select! {
                () = self.sender.closed() => return,
                () = tokio::time::sleep(FOLLOW) => {}
            }
        }
    }

    /// Sends what there is from `offset` on; how much that was, or nothing if nobody listens.
    async fn send_from(&self, offset: u64) -> Result<Option<u64>, Status> {
        let (mut sent, mut index) = (0, Vec::new());
        loop {
            let piece = self.piece(offset + sent, index).await?;
            if piece.parts.is_empty() {
                return Ok(Some(sent));
            }
            index = piece.index;
            for (stream, data) in piece.parts {
                let stream = match stream {
                    Stream::Stdout => common::Stream::Stdout,
                    Stream::Stderr => common::Stream::Stderr,
                };
                let length = data.len() as u64;
                let chunk = wire::LogChunk {
                    offset: offset + sent,
                    data: data.into(),
                    stream: stream.into(),
                };
                sent += length;
                if self.sender.send(Ok(chunk)).await.is_err() {
                    return Ok(None);
                }
            }
        }
    }

    /// The next piece from `offset` on, read where reading holds nobody up; only so many at a time.
    async fn piece(&self, offset: u64, index: Vec<Span>) -> Result<Piece, Status> {
        let refuse_log = |source| refuse(Error::Log { step: self.step.name.clone(), source });
        let permit = Arc::clone(&self.reading).acquire_owned().await;
        let permit = permit.map_err(|closed| refuse_log(std::io::Error::other(closed)))?;
        let (logs, run, step) = (self.agent.logs().clone(), self.step.run, self.step.id);
        let reading = tokio::task::spawn_blocking(move || {
            let read = read_piece(&logs, run, step, offset, index);
            drop(permit);
            read
        });
        let read = reading.await.unwrap_or_else(|broken| Err(std::io::Error::other(broken)));
        read.map_err(refuse_log)
    }
}

/// A step without a log has written nothing yet. The index is read anew only where it says too little.
fn read_piece(
    logs: &Logs,
    run: RunId,
    step: StepId,
    offset: u64,
    mut index: Vec<Span>,
) -> std::io::Result<Piece> {
    let bytes = match logs.read(run, step, offset, CHUNK_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let covered: u64 = index.iter().map(|span| u64::from(span.bytes)).sum();
    if covered < offset + bytes.len() as u64 && !bytes.is_empty() {
        // Without it everything counts as standard output.
        index = logs.spans(run, step).unwrap_or_default();
    }
    let parts = split(&index, offset, &bytes);
    let parts = parts.into_iter().map(|(stream, part)| (stream, part.to_vec())).collect();
    Ok(Piece { parts, index })
}

/// The bytes from `offset` on, cut where the stream changes. What the index does not cover yet counts as standard output.
fn split<'a>(spans: &[Span], offset: u64, bytes: &'a [u8]) -> Vec<(Stream, &'a [u8])> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    let mut position = 0;
    for span in spans {
        let end = position + u64::from(span.bytes);
        let at = offset + (bytes.len() - rest.len()) as u64;
        if end > at && !rest.is_empty() {
            let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at(count);
            parts.push((span.stream, part));
            rest = after;
        }
        position = end;
    }
    if !rest.is_empty() {
        parts.push((Stream::Stdout, rest));
    }
    parts
}

fn sequence(run: &Run) -> u64 {
    // The end is one change more than what the progress counts.
    let counted = serde_json::from_str::<Saved>(&run.progress).map_or(0, |saved| saved.sequence);
    counted + u64::from(run.state.result().is_some())
}

/// A run as callers see it.
fn run_view(run: &Run, steps: &[Step], reasons: &Reasons) -> wire::Run {
    let micros = Timestamp::as_micros;
    wire::Run {
        id: run.id.to_string(),
        repository: run.repository.clone(),
        sha: run.head_sha.clone(),
        base_sha: run.base_sha.clone(),
        branch: run.branch.clone(),
        dirty: run.dirty,
        state: run.state.name().to_owned(),
        result: run.state.result().map(|result| result.to_string()),
        isolation: run.isolation.as_ref().and_then(|summary| serde_json::to_string(summary).ok()),
        unsupported: serde_json::to_string(&run.unsupported).unwrap_or_default(),
        created_at: micros(run.created_at),
        started_at: run.state.started_at().map(micros),
        ended_at: run.state.ended_at().map(micros),
        gates: steps.iter().map(|step| gate_view(run, step, steps, reasons)).collect(),
        approved_snapshot: run.approved_snapshot.map(|id| id.to_string()),
        pull_request: run.pull_request.clone(),
        waiting: None,
        generation: run.generation,
    }
}

fn gate_view(run: &Run, step: &Step, all: &[Step], reasons: &Reasons) -> wire::Gate {
    let completion = step.state.completion();
    let micros = Timestamp::as_micros;
    let ended_at = match &step.state {
        StepState::Ended { ended_at, .. } => Some(*ended_at),
        StepState::Waiting | StepState::Ready | StepState::Claimed { .. } => None,
    };
    wire::Gate {
        id: step.id.to_string(),
        name: step.name.clone(),
        is_setup: step.kind == StepKind::Setup,
        state: step.state.name().to_owned(),
        result: completion.map(|completion| completion.result.to_string()),
        reason: completion.and_then(|completion| completion.reason.clone()),
        blocking: step.blocking,
        attempts: step.attempts,
        exit_code: completion.and_then(|completion| completion.exit_code),
        signal: completion.and_then(|completion| completion.signal),
        queued_at: micros(step.queued_at),
        claimed_at: step.state.claimed_at().map(micros),
        started_at: step.state.started_at().map(micros),
        ended_at: ended_at.map(micros),
        reports: completion.and_then(|completion| completion.reports.clone()),
        snapshot: completion.and_then(|completion| completion.snapshot).map(|id| id.to_string()),
        waiting: waiting(run, step, all, reasons),
        run: step.run.to_string(),
        reused_from: None,
        cost_micro_usd: 0,
    }
}

/// Why a step has not begun.
fn waiting(run: &Run, step: &Step, all: &[Step], reasons: &Reasons) -> Option<String> {
    match &step.state {
        StepState::Ready => {
            // One that is not among them came since, or comes after all of them.
            let after_all = || match reasons.len() {
                0 => Waiting::Next.to_string(),
                count => Waiting::Behind(count).to_string(),
            };
            Some(reasons.get(&step.id).cloned().unwrap_or_else(after_all))
        }
        StepState::Waiting => Some(needed(run, step, all)),
        StepState::Claimed { .. } | StepState::Ended { .. } => None,
    }
}

/// An error as callers see it.
pub(crate) fn refuse(error: Error) -> Status {
    let code = error.code();
    if code == ErrorCode::Internal {
        tracing::error!(error = error.chain(), "a request failed");
    }
    status(code, error.chain())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps that write to both streams, and many readers at a time on a runtime with one thread.
    #[tokio::test]
    async fn readers_get_the_whole_log_in_pieces_of_one_stream() {
        let (_folder, world) = crate::outside::World::new().await;
        let (run, _) = world.planner.run_commit("acme/web", &"a".repeat(40), None).await.unwrap();
        let (_, steps) = world.agent.run(run).await.unwrap();
        let step = steps[0].clone();
        let mut writer = world.agent.logs().append(run, step.id).unwrap();
        let mut expected = Vec::new();
        for number in 0..40_u8 {
            let stream = if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            let bytes = vec![number; 10_000];
            writer.write_at(stream, expected.len() as u64, &bytes).unwrap();
            expected.extend(bytes);
        }
        let service = RunsService::new(world.agent.clone(), world.planner.clone());
        let read = |offset: u64| {
            let service = service.clone();
            let request = wire::ReadLogRequest { step: step.id.to_string(), offset, follow: false };
            async move {
                let reply = wire::runs_server::Runs::read_log(&service, Request::new(request));
                let mut chunks = reply.await.unwrap().into_inner();
                let (mut found, mut at) = (Vec::new(), offset);
                while let Some(chunk) = tokio_stream::StreamExt::next(&mut chunks).await {
                    let chunk = chunk.unwrap();
                    assert_eq!(chunk.offset, at);
                    let is_stderr = chunk.stream() == common::Stream::Stderr;
                    assert!(chunk.data.iter().all(|byte| (byte % 2 == 1) == is_stderr));
                    at += chunk.data.len() as u64;
                    found.extend_from_slice(&chunk.data);
                }
                found
            }
        };
        let readers = (0..20).map(|_| read(123));
        for found in futures_util::future::join_all(readers).await {
            assert!(found == expected[123..]);
        }
        assert!(read(400_000).await.is_empty());
    }

    #[test]
    fn a_log_is_cut_where_the_stream_changes() {
        let spans = [
            Span { stream: Stream::Stdout, bytes: 3 },
            Span { stream: Stream::Stderr, bytes: 2 },
            Span { stream: Stream::Stdout, bytes: 4 },
        ];
        let parts = split(&spans, 0, b"outeroutX");
        assert_eq!(
            parts,
            [(Stream::Stdout, &b"out"[..]), (Stream::Stderr, b"er"), (Stream::Stdout, b"outX")]
        );
        assert_eq!(
            split(&spans, 4, b"rou"),
            [(Stream::Stderr, &b"r"[..]), (Stream::Stdout, b"ou")]
        );
        assert_eq!(split(&[], 0, b"new"), [(Stream::Stdout, &b"new"[..])]);
        assert_eq!(split(&spans, 9, b""), []);
    }
}
