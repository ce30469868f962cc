//! Running the scripts of a step inside a living sandbox, one after the other, until one fails or the time is over.

use std::time::Duration;

use sandgate_domain::{Clock, Timestamp};
use sandgate_engine::output;
use sandgate_engine::run::Outcome;
use sandgate_wire::common::v1 as common;
use sandgate_wire::node::v1 as node;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::assignment::Assignment;
use crate::error::Error;
use crate::held::{Command, Held};
use crate::log::{LogSink, Stream};

/// Where the scripts of a sandbox are, inside.
const SCRIPTS: &str = "/run/sandgate/scripts";
/// How much longer than the node we wait for the end of a command that is over its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is run.
pub struct Scripts<'a> {
    /// How many scripts the sandbox has below `/run/sandgate/scripts`.
    pub count: usize,
    /// The words before the path of each.
    pub shell: &'a [String],
    /// The folder they start in, inside the sandbox.
    pub directory: &'a str,
    /// Variables beside those that every sandbox has.
    pub environment: Vec<(String, String)>,
    /// How long all of them together may take.
    pub timeout: Duration,
}

/// How the scripts ended.
#[derive(Debug)]
pub struct Ran {
    /// How.
    pub outcome: Outcome,
    /// When the first instruction of the first script ran.
    pub started_at: Option<Timestamp>,
    /// What the output tells about tests.
    pub output: output::Found,
}

/// One reader a stream.
#[derive(Default)]
struct Readers {
    stdout: output::Reader,
    stderr: output::Reader,
}

impl Scripts<'_> {
    /// Runs them, and tells when the first instruction of the first one has run.
    ///
    /// # Errors
    /// If our own machinery fails; what the scripts do is an outcome.
    pub async fn run(
        &self,
        held: &Held,
        assignment: &Assignment,
        clock: &dyn Clock,
    ) -> Result<Ran, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut started_at = None;
        let mut outcome = Outcome::Exited(0);
        let mut readers = Readers::default();
        for number in 1..=self.count {
            if assignment.cancelled.is_cancelled() {
                outcome = stopped();
                break;
            }
            let mut shell = self.shell.to_vec();
            shell.push(format!("{SCRIPTS}/{number}"));
            let command = Command {
                argv: shell,
                directory: self.directory.to_owned(),
                environment: self.environment.clone(),
                timeout: deadline.saturating_duration_since(Instant::now()),
            };
            let mut events = held.exec(command).await?;
            let first = next(&mut events).await?;
            if started_at.is_none() && matches!(first, node::exec_event::Event::Started(_)) {
                let at = clock.now();
                started_at = Some(at);
                assignment.lease.started(at);
            }
            let following = Following { held, assignment, readers: &mut readers, deadline };
            outcome = following.until_end(events, first).await?;
            if outcome != Outcome::Exited(0) {
                break;
            }
        }
        let output = readers.stdout.finish().with(readers.stderr.finish());
        Ok(Ran { outcome, started_at, output })
    }
}

/// One command that is followed to its end.
struct Following<'a> {
    held: &'a Held,
    assignment: &'a Assignment,
    readers: &'a mut Readers,
    deadline: Instant,
}

impl Following<'_> {
    async fn until_end(
        self,
        mut events: Streaming<node::ExecEvent>,
        first: node::exec_event::Event,
    ) -> Result<Outcome, Error> {
        let cancelled = &self.assignment.cancelled;
        let late = self.deadline + PATIENCE;
        let mut event = first;
        let mut is_killed = false;
        loop {
            match event {
                node::exec_event::Event::Started(_) => {}
                node::exec_event::Event::Output(output) => {
                    take(output, &self.assignment.log, self.readers).await;
                }
                node::exec_event::Event::Ended(ended) => {
                    if ended.output_cut {
                        let note = "output was still open 5 s after the script had ended; the rest is left out";
                        self.assignment.log.note(note).await;
                    }
                    return if is_killed { Ok(stopped()) } else { judge_end(ended) };
                }
            }
            event = tokio::select! {
                biased;
                () = cancelled.cancelled(), if !is_killed => {
                    is_killed = true;
                    self.held.kill().await?;
                    node::exec_event::Event::Started(node::exec_event::Started {})
                }
                event = next(&mut events) => event?,
                () = tokio::time::sleep_until(late) => return Err(Error::NoEnd),
            };
        }
    }
}

async fn next(events: &mut Streaming<node::ExecEvent>) -> Result<node::exec_event::Event, Error> {
    let message = events.message().await?;
    let event = message.and_then(|message| message.event);
    event.ok_or_else(|| Status::unavailable("the node broke the events of a command off").into())
}

async fn take(output: node::exec_event::Output, log: &LogSink, readers: &mut Readers) {
    let (stream, reader) = match output.stream() {
        common::Stream::Stdout | common::Stream::Unspecified => {
            (Stream::Stdout, &mut readers.stdout)
        }
        common::Stream::Stderr => (Stream::Stderr, &mut readers.stderr),
    };
    reader.feed(&output.data);
    log.write(stream, output.data).await;
    sandgate_domain::fail_point::reached("output.written");
}

/// The agent knows why.
pub(crate) fn stopped() -> Outcome {
    Outcome::Cancelled { reason: "stopped".to_owned() }
}

fn judge_end(ended: node::exec_event::Ended) -> Result<Outcome, Error> {
    use node::exec_event::ended::How;
    if let Some(limit) = ended.broken_limit {
        return Ok(Outcome::LimitBroken { limit });
    }
    match ended.how {
        Some(How::ExitCode(code)) => Ok(Outcome::Exited(code)),
        Some(How::Signal(signal)) => Ok(Outcome::Signaled(signal)),
        Some(How::TimedOut(_)) => Ok(Outcome::TimedOut),
        Some(How::NotStarted(_)) | None => Err(Error::NoEnd),
    }
}
