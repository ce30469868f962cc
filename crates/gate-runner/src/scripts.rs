//! Running the scripts of a step inside a living sandbox, one after the other, until one fails or the time is over.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use sandgate_domain::{Clock, Timestamp};
use sandgate_engine::output;
use sandgate_engine::run::Outcome;
use sandgate_integration_agent::{Agent, Assignment, LogSink, Stream};
use sandgate_node::{Live, RunFiles, Shell};
use sandgate_sandbox::{Command, ExitStatus, Limit, Process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How much output is taken in one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// How long output is still read after the last process has ended.
const DRAIN: Duration = Duration::from_secs(5);

/// What is run.
pub struct Scripts<'a> {
    /// How many scripts the sandbox has below `/run/sandgate/scripts`.
    pub count: usize,
    /// How they are started.
    pub shell: Shell,
    /// The folder they start in, inside the sandbox.
    pub directory: &'a str,
    /// Variables beside those that every sandbox has.
    pub environment: Vec<(String, String)>,
    /// How long all of them together may take.
    pub timeout: Duration,
}

/// How the scripts ended.
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
    /// Runs them, and tells the agent when the first instruction of the first one has run.
    ///
    /// # Errors
    /// If our own machinery fails; what the scripts do is an outcome.
    pub async fn run(
        &self,
        live: &Live,
        agent: &Agent,
        assignment: &Assignment,
        clock: &dyn Clock,
    ) -> Result<Ran, Error> {
        let log = &assignment.log;
        let cancelled = &assignment.cancelled;
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut started_at = None;
        let mut outcome = Outcome::Exited(0);
        let mut readers = Readers::default();
        for index in 0..self.count {
            let script = RunFiles::script_path(index);
            let process = match live.start(self.command(live, &script)).await {
                Ok(process) => process,
                Err(error) => {
                    if let Some(limit) = live.broken_limit() {
                        outcome = Outcome::LimitBroken { limit: limit.to_string() };
                        break;
                    }
                    return Err(error.into());
                }
            };
            if started_at.is_none() {
                let at = clock.now();
                started_at = Some(at);
                agent.started(assignment, at).await?;
            }
            outcome = watch(process, live, log, &mut readers, deadline, cancelled).await?;
            if outcome != Outcome::Exited(0) {
                break;
            }
        }
        let output = readers.stdout.finish().with(readers.stderr.finish());
        Ok(Ran { outcome, started_at, output })
    }

    fn command(&self, live: &Live, script: &str) -> Command {
        let mut command = Command::new(self.shell.argv(script));
        command.cwd = PathBuf::from(self.directory);
        let mut variables = live.environment().clone();
        variables.extend(self.environment.iter().cloned());
        command.env =
            variables.into_iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect();
        command
    }
}

/// Follows one process to its end, and sees to it that it ends.
async fn watch(
    mut process: Process,
    live: &Live,
    log: &LogSink,
    readers: &mut Readers,
    deadline: tokio::time::Instant,
    cancelled: &CancellationToken,
) -> Result<Outcome, Error> {
    let stdout = process.take_stdout();
    let stderr = process.take_stderr();
    let output = async {
        tokio::join!(
            pump(stdout, Stream::Stdout, log, &mut readers.stdout),
            pump(stderr, Stream::Stderr, log, &mut readers.stderr)
        );
    };
    tokio::pin!(output);
    let mut output_ended = false;
    let outcome = loop {
        tokio::select! {
            status = process.wait() => break judge_end(status, live),
            () = &mut output, if !output_ended => output_ended = true,
            () = tokio::time::sleep_until(deadline) => break Outcome::TimedOut,
            () = cancelled.cancelled() => {
                break Outcome::Cancelled { reason: "stopped".to_owned() };
            }
        }
    };
    if !matches!(outcome, Outcome::Exited(0)) {
        live.kill_processes().await;
    }
    // A process that was left behind may hold the pipes; what it writes later is not of this script.
    if !output_ended && tokio::time::timeout(DRAIN, &mut output).await.is_err() {
        log.note("output was still open 5 s after the script had ended; the rest is left out")
            .await;
    }
    Ok(outcome)
}

fn judge_end(status: ExitStatus, live: &Live) -> Outcome {
    let limit = match status {
        ExitStatus::Exited(0) => None,
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) => {
            live.broken_limit().or_else(|| file_limit(status))
        }
    };
    match (limit, status) {
        (Some(limit), _) => Outcome::LimitBroken { limit: limit.to_string() },
        (None, ExitStatus::Exited(code)) => Outcome::Exited(code),
        (None, ExitStatus::Signaled(signal)) => Outcome::Signaled(signal),
    }
}

/// A single file that would outgrow the whole disk is stopped by the kernel before the disk is looked at: the writer gets
/// SIGXFSZ, and a shell tells of it as 128 + 25.
fn file_limit(status: ExitStatus) -> Option<Limit> {
    const SIGXFSZ: i32 = 25;
    match status {
        ExitStatus::Signaled(signal) if signal == SIGXFSZ => Some(Limit::DiskBytes),
        ExitStatus::Exited(code) if code == 128 + SIGXFSZ => Some(Limit::DiskBytes),
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) => None,
    }
}

/// Moves what a process writes to the log. When the log can't take more, the process waits.
async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    log: &LogSink,
    reader: &mut output::Reader,
) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => {
                reader.feed(&buffer[..count]);
                log.write(stream, &buffer[..count]).await;
                sandgate_domain::fail_point::reached("output.written");
            }
            Err(error) => {
                log.note(&format!("output could not be read: {error}")).await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_disk_limit_is_told_from_other_ends() {
        for (status, limit) in [
            (ExitStatus::Signaled(25), Some(Limit::DiskBytes)),
            (ExitStatus::Exited(153), Some(Limit::DiskBytes)),
            (ExitStatus::Exited(25), None),
            (ExitStatus::Signaled(9), None),
            (ExitStatus::Exited(0), None),
        ] {
            assert_eq!(file_limit(status), limit, "{status:?}");
        }
    }
}
