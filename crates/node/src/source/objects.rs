//! Reads many objects of a repository through one `cat-file` process, raw: no filter, no conversion.

use super::git::{LONG_DEADLINE, Running};
use super::repository::Repository;
use super::sha::Sha;
use crate::Error;

/// Takes the index of an object, its length and a chunk of its contents.
pub(super) type UseBlob<'a> = &'a mut dyn FnMut(usize, u64, &[u8]) -> Result<(), Error>;

/// Calls `use_chunk(index, length of the object, chunk)` for the contents of all `shas`, in their order. An empty object is
/// one call with an empty chunk.
pub(super) fn read_blobs(
    repository: &Repository,
    shas: &[&Sha],
    use_chunk: UseBlob<'_>,
) -> Result<(), Error> {
    if shas.is_empty() {
        return Ok(());
    }
    let running = repository
        .git("cat-file")
        .args(["--batch=%(objecttype) %(objectsize)", "--buffer"])
        .deadline(LONG_DEADLINE)
        .start()?;
    let mut request = String::with_capacity(shas.len() * 65);
    for sha in shas {
        request.push_str(sha.as_str());
        request.push('\n');
    }
    let mut reader =
        Reader { running, pending: request.as_bytes(), buffer: vec![0; 1 << 17], start: 0, end: 0 };
    for (index, sha) in shas.iter().enumerate() {
        let mut left = reader.head(sha)?;
        let length = left;
        if left == 0 {
            use_chunk(index, 0, &[])?;
        }
        while left > 0 {
            let chunk = reader.chunk(left)?;
            use_chunk(index, length, chunk)?;
            left -= chunk.len() as u64;
        }
        reader.expect_newline()?;
    }
    reader.running.finish(false).map(|_| ())
}

struct Reader<'a> {
    running: Running,
    pending: &'a [u8],
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Reader<'_> {
    /// The length that the next answer announces.
    fn head(&mut self, sha: &Sha) -> Result<u64, Error> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                byte if line.len() < 200 => line.push(byte),
                _ => return Err(self.running.unreadable("a line without end")),
            }
        }
        let text = String::from_utf8_lossy(&line);
        let length = text.strip_prefix("blob ").and_then(|length| length.parse().ok());
        length.ok_or_else(|| {
            self.running.unreadable(&format!(
                "the object {sha} is not a file that can be read here ({text}); a partial clone lacks it, fetch it first"
            ))
        })
    }

    fn expect_newline(&mut self) -> Result<(), Error> {
        match self.byte()? {
            b'\n' => Ok(()),
            _ => Err(self.running.unreadable("an object longer than announced")),
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let chunk = self.chunk(1)?;
        Ok(chunk[0])
    }

    /// Between 1 and `most` bytes.
    fn chunk(&mut self, most: u64) -> Result<&[u8], Error> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.running.exchange(&mut self.pending, &mut self.buffer)?;
            if self.end == 0 {
                return Err(self.running.unreadable("it ended too early"));
            }
        }
        let available = self.end - self.start;
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(available);
        let from = self.start;
        self.start += length;
        Ok(&self.buffer[from..from + length])
    }
}
