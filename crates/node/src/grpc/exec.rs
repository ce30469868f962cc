//! One command from its start to its end, as a stream of events. When the caller goes away, everything inside is killed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use sandgate_sandbox::{Command, ExitStatus, Limit, Process};
use sandgate_wire::common::v1::Stream;
use sandgate_wire::node::v1 as wire;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use wire::exec_event::ended::How;
use wire::exec_event::{Ended, Event, NotStarted, Output, Started, TimedOut};

use super::refuse;
use crate::live_sandboxes::LiveGuard;

/// How much output is sent in one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// How many pieces wait for the caller before the command does.
const WINDOW: usize = 4;
/// How long output is still read after the last process has ended.
const DRAIN: Duration = Duration::from_secs(5);
/// The longest that a command may take.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

type Events = Sender<Result<wire::ExecEvent, Status>>;

/// Nobody listens any more.
struct Gone;

pub(super) async fn start(
    live: LiveGuard,
    request: wire::ExecRequest,
) -> Result<Response<ReceiverStream<Result<wire::ExecEvent, Status>>>, Status> {
    let timeout = Duration::from_millis(request.timeout_ms).min(LONGEST);
    let deadline = tokio::time::Instant::now() + timeout;
    let (events, received) = mpsc::channel(WINDOW);
    let process = match live.start(command(request)).await {
        Ok(process) => process,
        Err(error) => {
            let limit = live.broken_limit().ok_or_else(|| refuse(error))?;
            let ended = ended(How::NotStarted(NotStarted {}), Some(limit), false);
            events.try_send(Ok(ended)).map_err(|_| Status::internal("no room for an event"))?;
            return Ok(Response::new(ReceiverStream::new(received)));
        }
    };
    tokio::spawn(async move {
        if follow(process, &live, &events, deadline).await.is_err() {
            live.kill_processes().await;
        }
    });
    Ok(Response::new(ReceiverStream::new(received)))
}

fn command(request: wire::ExecRequest) -> Command {
    let mut command = Command::new(request.command);
    command.cwd = PathBuf::from(request.directory);
    let variables = request.environment.into_iter();
    command.env = variables.map(|(n, v)| (OsString::from(n), OsString::from(v))).collect();
    command
}

/// Follows one process to its end, and sees to it that it ends.
async fn follow(
    mut process: Process,
    live: &LiveGuard,
    events: &Events,
    deadline: tokio::time::Instant,
) -> Result<(), Gone> {
    send(events, Event::Started(Started {})).await?;
    let stdout = process.take_stdout();
    let stderr = process.take_stderr();
    let output = async {
        // What came between two looks has lost its order; most programs say first what they then complain about.
        tokio::try_join!(
            biased;
            pump(stdout, Stream::Stdout, events),
            pump(stderr, Stream::Stderr, events)
        )
    };
    tokio::pin!(output);
    let mut output_ended = false;
    let how = loop {
        tokio::select! {
            status = process.wait() => break how(status),
            sent = &mut output, if !output_ended => {
                sent?;
                output_ended = true;
            }
            () = tokio::time::sleep_until(deadline) => break How::TimedOut(TimedOut {}),
            () = events.closed() => return Err(Gone),
        }
    };
    let limit = match how {
        How::ExitCode(0) => None,
        How::ExitCode(_) | How::Signal(_) => live.broken_limit().or_else(|| file_limit(&how)),
        How::TimedOut(_) | How::NotStarted(_) => None,
    };
    if !matches!(how, How::ExitCode(0)) {
        live.kill_processes().await;
    }
    // A process that was left behind may hold the pipes; what it writes later is not of this command.
    if !output_ended {
        match tokio::time::timeout(DRAIN, &mut output).await {
            Ok(sent) => {
                sent?;
                output_ended = true;
            }
            Err(_elapsed) => {}
        }
    }
    let event = ended(how, limit, !output_ended);
    events.send(Ok(event)).await.map_err(|_| Gone)
}

fn how(status: ExitStatus) -> How {
    match status {
        ExitStatus::Exited(code) => How::ExitCode(code),
        ExitStatus::Signaled(signal) => How::Signal(signal),
    }
}

/// A single file that would outgrow the whole disk is stopped by the kernel before the disk is looked at: the writer gets
/// SIGXFSZ, and a shell tells of it as 128 + 25.
fn file_limit(how: &How) -> Option<Limit> {
    const SIGXFSZ: i32 = 25;
    match how {
        How::Signal(signal) if *signal == SIGXFSZ => Some(Limit::DiskBytes),
        How::ExitCode(code) if *code == 128 + SIGXFSZ => Some(Limit::DiskBytes),
        How::ExitCode(_) | How::Signal(_) | How::TimedOut(_) | How::NotStarted(_) => None,
    }
}

/// Moves what a process writes to the caller. When the caller can't take more, the process waits.
async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    events: &Events,
) -> Result<(), Gone> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut buffer = bytes::BytesMut::with_capacity(CHUNK_BYTES);
    loop {
        if buffer.spare_capacity_mut().len() < CHUNK_BYTES / 8 {
            buffer.reserve(CHUNK_BYTES);
        }
        match pipe.read_buf(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let data = buffer.split().freeze();
                send(events, Event::Output(Output { stream: stream.into(), data })).await?;
            }
            Err(error) => {
                let text = format!("output could not be read: {error}\n");
                let output = Output { stream: Stream::Stderr.into(), data: text.into() };
                return send(events, Event::Output(output)).await;
            }
        }
    }
}

async fn send(events: &Events, event: Event) -> Result<(), Gone> {
    events.send(Ok(wire::ExecEvent { event: Some(event) })).await.map_err(|_| Gone)
}

fn ended(how: How, limit: Option<Limit>, output_cut: bool) -> wire::ExecEvent {
    let broken_limit = limit.map(|limit| limit.to_string());
    let ended = Ended { how: Some(how), broken_limit, output_cut };
    wire::ExecEvent { event: Some(Event::Ended(ended)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_disk_limit_is_told_from_other_ends() {
        for (how, limit) in [
            (How::Signal(25), Some(Limit::DiskBytes)),
            (How::ExitCode(153), Some(Limit::DiskBytes)),
            (How::ExitCode(25), None),
            (How::Signal(9), None),
            (How::ExitCode(0), None),
        ] {
            assert_eq!(file_limit(&how), limit, "{how:?}");
        }
    }
}
