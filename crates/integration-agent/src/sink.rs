//! Where a runner writes what a step says: the log on disk, and whoever watches.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::logs::LogWriter;
use crate::progress::{Progress, Stream};

/// How many pieces of output wait for a slow watcher.
const OUTPUT_BUFFER: usize = 128;

/// The open log of one attempt of a step.
pub struct LogSink {
    step: String,
    writer: Mutex<Option<LogWriter>>,
    watchers: broadcast::Sender<Progress>,
}

impl LogSink {
    pub(crate) fn new(
        step: String,
        writer: LogWriter,
        watchers: broadcast::Sender<Progress>,
    ) -> Self {
        Self { step, writer: Mutex::new(Some(writer)), watchers }
    }

    /// Takes in what a stream wrote. If the disk refuses, watchers still see it, and the log ends there.
    pub async fn write(&self, stream: Stream, bytes: &[u8]) {
        {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(error)) = writer.as_mut().map(|log| log.write(stream, bytes)) {
                tracing::error!(step.name = self.step, %error, "the log can't be written; it ends here");
                *writer = None;
            }
        }
        // What a slow watcher can't take in is in the log; the room that is left is for changes of state.
        if self.watchers.receiver_count() > 0 && self.watchers.len() < OUTPUT_BUFFER {
            let event = Progress::Output { step: self.step.clone(), stream, bytes: bytes.to_vec() };
            // A watcher that left meanwhile is fine.
            let _watchers = self.watchers.send(event);
        }
        tokio::task::yield_now().await;
    }

    /// Adds a line of our own.
    pub async fn note(&self, text: &str) {
        self.write(Stream::Stderr, format!("[sandgate: {text}]\n").as_bytes()).await;
    }

    /// Ends the log; it is on the disk then.
    pub(crate) fn finish(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = writer.map(LogWriter::finish) {
            tracing::error!(step.name = self.step, %error, "the end of a log could not be written");
        }
    }
}
