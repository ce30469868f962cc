//! What a step writes, on its way to the agent: gathered into chunks, sent one after the other. While one is under way the
//! commands go on writing, until the few pieces that wait are full; then they wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sandgate_domain::ErrorCode;
use sandgate_wire::agent::v1::agent_client::AgentClient;
use sandgate_wire::agent::v1::{AppendLogReply, AppendLogRequest};
use sandgate_wire::common::v1 as common;
use sandgate_wire::token::with_step_token;
use sandgate_wire::{Connection, error_code};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::may_pass;
use crate::lease::Lease;

/// The largest chunk, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// How often a step that writes little is asked for what it wrote since.
const GATHER: Duration = Duration::from_millis(100);
/// How many pieces wait while a chunk is under way.
const WAITING: usize = 8;
/// How long bytes that nobody needs are only counted.
const COUNTING: Duration = Duration::from_secs(1);
/// How long to wait before a chunk is sent again.
const BACKOFF: Duration = Duration::from_millis(200);

/// Which of a command's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where logs go.
#[derive(Clone)]
pub(crate) struct LogStart {
    /// Who keeps them.
    pub(crate) agent: AgentClient<Connection>,
}

/// The log of one attempt.
pub(crate) struct LogSink {
    messages: mpsc::Sender<Message>,
}

enum Message {
    Write(Piece),
    /// Whoever waits for all before it is told where the log ends.
    Flush(oneshot::Sender<u64>),
}

struct Piece {
    stream: Stream,
    bytes: Bytes,
}

impl LogStart {
    /// The log of a step that is held; it begins at `offset`. If the step turns out to be somebody else's, the work is
    /// cancelled.
    pub(crate) fn open(
        self,
        lease: Arc<Lease>,
        cancelled: CancellationToken,
        offset: u64,
    ) -> LogSink {
        let (messages, waiting) = mpsc::channel(WAITING);
        let sender = Sender { agent: self.agent, lease, cancelled, offset, state: State::Sending };
        // It ends when the sink is dropped.
        tokio::spawn(sender.run(waiting));
        LogSink { messages }
    }
}

impl LogSink {
    /// Takes in what a stream wrote; waits while the agent is behind.
    pub(crate) async fn write(&self, stream: Stream, bytes: Bytes) {
        // It fails only after a panic, of which `flush` tells.
        let _panicked = self.messages.send(Message::Write(Piece { stream, bytes })).await;
    }

    /// Adds a line of our own.
    pub(crate) async fn note(&self, text: &str) {
        self.write(Stream::Stderr, Bytes::from(format!("[sandgate: {text}]\n"))).await;
    }

    /// Waits until all is with the agent; where the log ends.
    pub(crate) async fn flush(&self) -> u64 {
        let (reply, end) = oneshot::channel();
        let _panicked = self.messages.send(Message::Flush(reply)).await;
        match end.await {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(%error, "the end of a log was not sent");
                0
            }
        }
    }
}

/// How the sender goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sending,
    /// Until then nobody needs the bytes.
    Counting(Instant),
    /// The agent takes nothing more.
    Ended,
}

struct Sender {
    agent: AgentClient<Connection>,
    lease: Arc<Lease>,
    cancelled: CancellationToken,
    offset: u64,
    state: State,
}

impl Sender {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut next = None;
        let mut sent_at = None;
        loop {
            let message = match next.take() {
                Some(message) => Some(message),
                None => messages.recv().await,
            };
            let first = match message {
                None => return,
                Some(Message::Write(piece)) => piece,
                Some(Message::Flush(reply)) => {
                    // Whoever asked may be gone.
                    let _gone = reply.send(self.offset);
                    continue;
                }
            };
            if self.is_only_counted() {
                self.offset += first.bytes.len() as u64;
                continue;
            }
            // The first bytes after a pause go at once; those right behind them wait for more.
            let until = sent_at.map_or_else(Instant::now, |sent: Instant| sent + GATHER);
            let chunk;
            (chunk, next) = gather(first, &mut messages, until).await;
            self.send(chunk).await;
            sent_at = Some(Instant::now());
        }
    }

    fn is_only_counted(&mut self) -> bool {
        match self.state {
            State::Sending => false,
            State::Ended => true,
            State::Counting(until) if Instant::now() < until => true,
            State::Counting(_) => {
                self.state = State::Sending;
                false
            }
        }
    }

    /// Sends a chunk until it is taken, or the step is not ours any more.
    async fn send(&mut self, chunk: Piece) {
        loop {
            match self.append(&chunk).await {
                Ok(reply) => {
                    self.offset += chunk.bytes.len() as u64;
                    if reply.is_full {
                        self.state = State::Counting(Instant::now() + COUNTING);
                    }
                    return;
                }
                Err(status) if may_pass(&status) && !self.lease.is_lost() => {
                    tokio::time::sleep(BACKOFF).await;
                }
                Err(status) => return self.end(&status, chunk.bytes.len()),
            }
        }
    }

    fn end(&mut self, status: &Status, bytes: usize) {
        self.state = State::Ended;
        self.offset += bytes as u64;
        if error_code(status) == ErrorCode::Conflict {
            self.lease.lose();
            self.cancelled.cancel();
        } else if !self.lease.is_lost() {
            tracing::error!(status = status.message(), "a log is not taken any more; it ends here");
        }
    }

    async fn append(&mut self, chunk: &Piece) -> Result<AppendLogReply, Status> {
        let stream = match chunk.stream {
            Stream::Stdout => common::Stream::Stdout,
            Stream::Stderr => common::Stream::Stderr,
        };
        let message = AppendLogRequest {
            offset: self.offset,
            stream: stream.into(),
            data: chunk.bytes.clone(),
        };
        let request = with_step_token(message, &self.lease.token());
        Ok(self.agent.append_log(request).await?.into_inner())
    }
}

/// What one stream writes until `until`, as one chunk, and the message behind it that is not of it.
async fn gather(
    first: Piece,
    messages: &mut mpsc::Receiver<Message>,
    until: Instant,
) -> (Piece, Option<Message>) {
    let stream = first.stream;
    let mut length = first.bytes.len();
    let mut parts = vec![first.bytes];
    let mut behind = None;
    while length < CHUNK_BYTES {
        // What is there already is taken in any case.
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(_) => match tokio::time::timeout_at(until, messages.recv()).await {
                Ok(Some(message)) => message,
                Ok(None) | Err(_) => break,
            },
        };
        match message {
            Message::Write(piece)
                if piece.stream == stream && length + piece.bytes.len() <= CHUNK_BYTES =>
            {
                length += piece.bytes.len();
                parts.push(piece.bytes);
            }
            other @ (Message::Write(_) | Message::Flush(_)) => {
                behind = Some(other);
                break;
            }
        }
    }
    (Piece { stream, bytes: join(parts, length) }, behind)
}

fn join(mut parts: Vec<Bytes>, length: usize) -> Bytes {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(length);
    for part in parts {
        joined.extend_from_slice(&part);
    }
    joined.freeze()
}
