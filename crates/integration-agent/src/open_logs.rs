//! The logs of steps that are under way: who may write to each, and whoever watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandgate_domain::StepId;
use tokio::time::Instant;

use crate::agent::Held;
use crate::error::Error;
use crate::logs::{LogWriter, Logs};
use crate::progress::Stream;

/// How long a claim is believed in after it was looked up.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long a log stays open without output.
const IDLE: Duration = Duration::from_secs(60);

/// What is open.
pub(crate) struct OpenLogs {
    logs: Logs,
    open: Mutex<HashMap<StepId, Arc<Mutex<OpenLog>>>>,
}

/// The log of one attempt.
pub(crate) struct OpenLog {
    fence: u64,
    /// The name of the step.
    pub(crate) name: String,
    /// None: the disk refused, and the log ends there.
    writer: Option<LogWriter>,
    checked_at: Instant,
    used_at: Instant,
}

/// What was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Where the next byte goes.
    pub(crate) next_offset: u64,
    /// Whether nothing is kept any more.
    pub(crate) is_full: bool,
    /// How many of the bytes, from the first on, were there already.
    pub(crate) known: usize,
}

impl OpenLogs {
    pub(crate) fn new(logs: Logs) -> Self {
        Self { logs, open: Mutex::default() }
    }

    /// Opens the log for a claim that was just given out; where it begins.
    pub(crate) fn begin(&self, held: Held, name: &str) -> u64 {
        let log = self.open(held, name);
        let offset = log.writer.as_ref().map_or(0, LogWriter::received);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, log| match log.try_lock() {
            Ok(log) => log.used_at.elapsed() < IDLE,
            Err(_) => true,
        });
        open.insert(held.step, Arc::new(Mutex::new(log)));
        offset
    }

    /// The open log of this claim, if the claim was looked up a moment ago.
    pub(crate) fn believed(&self, held: Held) -> Option<Arc<Mutex<OpenLog>>> {
        let log = self.get(held)?;
        let is_believed = lock(&log).checked_at.elapsed() < BELIEVED;
        is_believed.then_some(log)
    }

    /// The log of a claim that was just looked up.
    pub(crate) fn checked(&self, held: Held, name: &str) -> Arc<Mutex<OpenLog>> {
        if self.get(held).is_none() {
            self.begin(held, name);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let log =
            open.entry(held.step).or_insert_with(|| Arc::new(Mutex::new(self.open(held, name))));
        lock(log).checked_at = Instant::now();
        Arc::clone(log)
    }

    fn get(&self, held: Held) -> Option<Arc<Mutex<OpenLog>>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&held.step).filter(|log| lock(log).fence == held.fence).cloned()
    }

    /// Ends the log of a claim, which counts `end` bytes; it is on the disk then.
    pub(crate) async fn finish(&self, held: Held, name: &str, end: u64) {
        // One that was closed for being idle is opened again: it may lack its last line.
        let log = self.get(held).unwrap_or_else(|| Arc::new(Mutex::new(self.open(held, name))));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&held.step);
        let finishing = tokio::task::spawn_blocking(move || {
            let mut log = lock(&log);
            let Some(writer) = log.writer.take() else { return };
            if let Err(error) = writer.finish(end) {
                tracing::error!(step.name = log.name, %error, "the end of a log could not be written");
            }
        });
        if let Err(error) = finishing.await {
            tracing::error!(%error, "the end of a log could not be written");
        }
    }

    fn open(&self, held: Held, name: &str) -> OpenLog {
        let writer = self.logs.append(held.run, held.step);
        if let Err(error) = &writer {
            tracing::error!(step.name = name, %error, "a log can't be opened; what the step writes is not kept");
        }
        let now = Instant::now();
        let (fence, name, writer) = (held.fence, name.to_owned(), writer.ok());
        OpenLog { fence, name, writer, checked_at: now, used_at: now }
    }
}

impl OpenLog {
    /// Takes in what a stream wrote. If the disk refuses, the log ends there.
    ///
    /// # Errors
    /// If bytes before it are missing.
    pub(crate) fn append(
        &mut self,
        stream: Stream,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Appended, Error> {
        self.used_at = Instant::now();
        let end = offset.saturating_add(bytes.len() as u64);
        let Some(writer) = &mut self.writer else {
            return Ok(Appended { next_offset: end, is_full: true, known: 0 });
        };
        let received = writer.received();
        if offset > received && !writer.is_full() {
            return Err(Error::LogGap { expected: received, offset });
        }
        let known = usize::try_from(received.saturating_sub(offset)).unwrap_or(usize::MAX);
        let known = known.min(bytes.len());
        if let Err(error) = writer.write_at(stream, offset, bytes) {
            tracing::error!(step.name = self.name, %error, "the log can't be written; it ends here");
            self.writer = None;
            return Ok(Appended { next_offset: end, is_full: true, known });
        }
        Ok(Appended { next_offset: writer.received(), is_full: writer.is_full(), known })
    }
}

pub(crate) fn lock(log: &Mutex<OpenLog>) -> std::sync::MutexGuard<'_, OpenLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
