//! What steps wrote, on disk: one file of text a step, and an index that tells the two streams apart.
//!
//! Appending is idempotent by offset, so a chunk that is sent again after a lost answer is not written twice. Past the cap
//! output is counted and dropped behind a marker.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sandgate_domain::{RunId, StepId};

use crate::progress::Stream;

/// The most that is kept of one step's output, in bytes.
pub const CAP_BYTES: u64 = 64 << 20;

/// The most that is kept of one step's index, in bytes. Somebody who writes byte by byte fills it; what it does not cover
/// counts as standard output.
const INDEX_CAP_BYTES: u64 = 1 << 20;

/// The log files of all runs below one folder.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: PathBuf,
}

/// The open log of one step.
#[derive(Debug)]
pub struct LogWriter {
    text: File,
    index: File,
    /// How long the text is.
    length: u64,
    indexed: u64,
    /// Where the next byte goes, counting those that were not kept.
    received: u64,
}

/// A part of a log: which stream wrote how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Who wrote it.
    pub stream: Stream,
    /// How many bytes.
    pub bytes: u32,
}

impl Logs {
    /// The logs below `folder`, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file that holds the text of a step.
    pub fn path(&self, run: RunId, step: StepId) -> PathBuf {
        self.folder.join(run.to_string()).join(format!("{step}.log"))
    }

    /// Opens the log of a step for appending.
    ///
    /// # Errors
    /// If the files can't be made or read.
    pub fn append(&self, run: RunId, step: StepId) -> io::Result<LogWriter> {
        let path = self.path(run, step);
        // What gates print is for their user alone.
        DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(run.to_string()))?;
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let text = open(&path)?;
        let index = open(&path.with_extension("index"))?;
        let length = text.metadata()?.len();
        let indexed = index.metadata()?.len();
        Ok(LogWriter { text, index, length, indexed, received: length })
    }

    /// Up to `limit` bytes of the text of a step from `offset` on.
    ///
    /// # Errors
    /// If the step has no log, or it can't be read.
    pub fn read(&self, run: RunId, step: StepId, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(run, step))?;
        let mut bytes = Vec::new();
        // Behind what a file can hold, the system refuses even to look.
        if offset >= file.metadata()?.len() {
            return Ok(bytes);
        }
        file.seek(SeekFrom::Start(offset))?;
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The parts of a log in order.
    ///
    /// # Errors
    /// If the step has no log, or it can't be read.
    pub fn spans(&self, run: RunId, step: StepId) -> io::Result<Vec<Span>> {
        let bytes = std::fs::read(self.path(run, step).with_extension("index"))?;
        Ok(bytes.chunks_exact(5).filter_map(decode).collect())
    }

    /// Removes the logs of a run. No log is not an error.
    ///
    /// # Errors
    /// If a file can't be removed.
    pub fn remove(&self, run: RunId) -> io::Result<()> {
        match std::fs::remove_dir_all(self.folder.join(run.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

impl LogWriter {
    /// Where the next byte goes, counting those that were not kept.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether nothing is kept any more.
    pub fn is_full(&self) -> bool {
        self.length >= CAP_BYTES
    }

    /// Takes in what a stream wrote at an offset: what is there already is left out, and what is past the cap is counted.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_at(&mut self, stream: Stream, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let known = usize::try_from(self.received.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(fresh) = bytes.get(known..) else { return Ok(()) };
        self.received = self.received.max(offset.saturating_add(bytes.len() as u64));
        let room = usize::try_from(CAP_BYTES.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let kept = &fresh[..fresh.len().min(room)];
        if kept.is_empty() {
            return Ok(());
        }
        self.text.write_all(kept)?;
        self.length += kept.len() as u64;
        for part in kept.chunks(u32::MAX as usize) {
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.note_span(Span { stream, bytes: count })?;
        }
        Ok(())
    }

    fn note_span(&mut self, span: Span) -> io::Result<()> {
        let record = encode(span);
        if self.indexed + record.len() as u64 <= INDEX_CAP_BYTES {
            self.index.write_all(&record)?;
            self.indexed += record.len() as u64;
        }
        Ok(())
    }

    /// Ends the log, of which the writer has counted `end` bytes: says how much was dropped, if anything was, and how long the
    /// text is in bytes.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(mut self, end: u64) -> io::Result<u64> {
        let dropped = self.received.max(end) - self.length;
        if dropped > 0 {
            let marker = format!("\n[sandgate: {dropped} more bytes of output were dropped]\n");
            self.text.write_all(marker.as_bytes())?;
            let count = u32::try_from(marker.len()).unwrap_or(u32::MAX);
            self.note_span(Span { stream: Stream::Stderr, bytes: count })?;
            self.length += marker.len() as u64;
        }
        self.text.sync_data()?;
        Ok(self.length)
    }
}

fn encode(span: Span) -> [u8; 5] {
    let [a, b, c, d] = span.bytes.to_le_bytes();
    let stream = match span.stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    [stream, a, b, c, d]
}

fn decode(record: &[u8]) -> Option<Span> {
    let [stream, a, b, c, d] = *record else { return None };
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return None,
    };
    Some(Span { stream, bytes: u32::from_le_bytes([a, b, c, d]) })
}

#[cfg(test)]
mod tests {
    use sandgate_domain::Ids;
    use sandgate_testkit::CountingIds;

    use super::*;

    #[test]
    fn bytes_past_the_cap_are_counted_once_whatever_is_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned());
        let ids: &dyn Ids = &CountingIds::default();
        let (run, step) = (RunId::new(ids), StepId::new(ids));
        let mut writer = logs.append(run, step).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        for number in 0..65_u64 {
            for _again in 0..2 {
                writer.write_at(Stream::Stdout, number << 20, &chunk).unwrap();
            }
        }
        assert!(writer.is_full());
        assert_eq!(writer.received(), 65 << 20);
        // Bytes that were not even sent count, too.
        let length = writer.finish((65 << 20) + 7).unwrap();
        let tail = logs.read(run, step, CAP_BYTES, CAP_BYTES).unwrap();
        let marker = format!("\n[sandgate: {} more bytes of output were dropped]\n", (1 << 20) + 7);
        assert_eq!(String::from_utf8(tail).unwrap(), marker);
        assert_eq!(length, CAP_BYTES + marker.len() as u64);
    }

    #[test]
    fn an_index_stays_bounded_when_bytes_come_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned());
        let ids: &dyn Ids = &CountingIds::default();
        let (run, step) = (RunId::new(ids), StepId::new(ids));
        let mut writer = logs.append(run, step).unwrap();
        let count = INDEX_CAP_BYTES / 5 + 1000;
        for number in 0..count {
            let stream = if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            writer.write_at(stream, number, b"x").unwrap();
        }
        assert_eq!(writer.finish(count).unwrap(), count);
        let spans = logs.spans(run, step).unwrap();
        assert_eq!(spans.len() as u64, INDEX_CAP_BYTES / 5);
        assert_eq!(logs.read(run, step, 0, CAP_BYTES).unwrap().len() as u64, count);
        for behind in [count, count + 1, i64::MAX.unsigned_abs(), u64::MAX] {
            assert!(logs.read(run, step, behind, CAP_BYTES).unwrap().is_empty(), "{behind}");
        }
    }
}
