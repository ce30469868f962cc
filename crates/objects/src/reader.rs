//! One `git cat-file` that lives on, and is asked one batch of questions after the other.
//!
//! Nothing of a repository's configuration can make it run another program: it compares and filters nothing, knows neither
//! hooks nor transports nor lazy fetching, and its environment is ours alone. Its answers have a deadline; who does not hear
//! an answer to its end drops the reader, and with it the process.

use std::ffi::OsStr;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Error, ObjectId};

const BUFFER: usize = 1 << 17;
const MAX_HEAD: usize = 1024;
const STDERR_KEPT: usize = 400;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Contents of a file.
    Blob,
    /// A folder.
    Tree,
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
}

impl Kind {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"blob" => Self::Blob,
            b"tree" => Self::Tree,
            b"commit" => Self::Commit,
            b"tag" => Self::Tag,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        })
    }
}

/// The first line of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// There is no such object.
    Missing,
    /// There is.
    Object { id: ObjectId, kind: Kind, bytes: u64 },
}

/// Settings that win over those of the repository.
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.askPass=",
    "credential.helper=",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.commitGraph=false",
];

const ENVIRONMENT: [(&str, &str); 12] = [
    ("LC_ALL", "C"),
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// A running git; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Reader {
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Vec<u8>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Reader {
    /// Starts one in the repository `git_dir`.
    pub(crate) fn start(
        program: &Path,
        search_path: &OsStr,
        git_dir: &Path,
    ) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", search_path)
            .env("GIT_DIR", git_dir)
            .envs(ENVIRONMENT)
            .current_dir(git_dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(["--no-pager", "cat-file", "--batch-command", "--buffer"]);
        let mut child = command.spawn().map_err(Error::io("start", program))?;
        let stdin = child.stdin.take();
        let reader =
            Self { child, stdin, stderr: Vec::new(), buffer: vec![0; BUFFER], start: 0, end: 0 };
        reader.nonblocking().map_err(|errno| Error::io("prepare", program)(errno.into()))?;
        Ok(reader)
    }

    /// Sends questions (lines of `info` and `contents`), whose answers are heard one by one.
    pub(crate) fn ask<'a>(
        &'a mut self,
        questions: &'a [u8],
        deadline: Duration,
    ) -> Conversation<'a> {
        let ends = Instant::now() + deadline;
        Conversation {
            reader: self,
            pending: [questions, b"flush\n"],
            deadline,
            ends,
            has_died: false,
        }
    }

    fn nonblocking(&self) -> Result<(), rustix::io::Errno> {
        let pipes = [
            self.stdin.as_ref().map(AsFd::as_fd),
            self.child.stdout.as_ref().map(AsFd::as_fd),
            self.child.stderr.as_ref().map(AsFd::as_fd),
        ];
        pipes.into_iter().flatten().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true))
    }

    fn keep_errors(&mut self) {
        let Some(pipe) = &mut self.child.stderr else { return };
        let mut buffer = [0_u8; 4096];
        match pipe.read(&mut buffer) {
            Ok(0) => self.child.stderr = None,
            Ok(read) => {
                self.stderr.extend_from_slice(buffer.get(..read).unwrap_or_default());
                let surplus = self.stderr.len().saturating_sub(STDERR_KEPT);
                self.stderr.drain(..surplus);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.child.stderr = None,
        }
    }

    fn ended(&mut self) -> Error {
        // What it said last is in the pipe before its other end is closed.
        self.keep_errors();
        let text = String::from_utf8_lossy(&self.stderr);
        let shown = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        Error::Ended { stderr: shown.collect() }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It has no children; and it is not reaped, so its id can't belong to anybody else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers to one batch of questions.
pub(crate) struct Conversation<'a> {
    reader: &'a mut Reader,
    pending: [&'a [u8]; 2],
    deadline: Duration,
    ends: Instant,
    has_died: bool,
}

enum Ready {
    Input,
    Output,
    Errors,
}

impl Conversation<'_> {
    /// Whether everything was asked, and everything heard.
    pub(crate) fn is_over(&self) -> bool {
        self.reader.start == self.reader.end && self.pending.iter().all(|part| part.is_empty())
    }

    /// Whether the process ended by itself.
    pub(crate) fn has_died(&self) -> bool {
        self.has_died
    }

    /// The next answer's first line.
    pub(crate) fn head(&mut self) -> Result<Head, Error> {
        let mut line = Vec::new();
        loop {
            let heard = self.buffered()?;
            let end = heard.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(heard.get(..end.unwrap_or(heard.len())).unwrap_or_default());
            let used = end.map_or(heard.len(), |end| end + 1);
            self.reader.start += used;
            if line.len() > MAX_HEAD {
                return Err(Error::Answer { what: "a line without end".to_owned() });
            }
            if end.is_some() {
                return parse_head(&line).ok_or_else(|| Error::Answer {
                    what: format!("`{}`", String::from_utf8_lossy(&line).escape_debug()),
                });
            }
        }
    }

    /// Between 1 and `most` bytes of the contents that follow.
    pub(crate) fn chunk(&mut self, most: u64) -> Result<&[u8], Error> {
        let available = self.buffered()?.len();
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(available);
        let from = self.reader.start;
        self.reader.start += length;
        Ok(self.reader.buffer.get(from..from + length).unwrap_or_default())
    }

    /// All of the contents that follow, and the line break behind them.
    pub(crate) fn contents(&mut self, bytes: u64) -> Result<Vec<u8>, Error> {
        let mut contents = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut left = bytes;
        while left > 0 {
            let chunk = self.chunk(left)?;
            contents.extend_from_slice(chunk);
            left -= chunk.len() as u64;
        }
        self.end_of_contents()?;
        Ok(contents)
    }

    /// The line break behind contents.
    pub(crate) fn end_of_contents(&mut self) -> Result<(), Error> {
        match self.chunk(1)? {
            b"\n" => Ok(()),
            _ => Err(Error::Answer { what: "an object longer than announced".to_owned() }),
        }
    }

    /// What was heard and not used yet: at least one byte.
    fn buffered(&mut self) -> Result<&[u8], Error> {
        while self.reader.start == self.reader.end {
            let is_sending = self.pending.iter().any(|part| !part.is_empty());
            match self.wait(is_sending)? {
                Ready::Input => self.send()?,
                Ready::Errors => self.reader.keep_errors(),
                Ready::Output => self.receive()?,
            }
        }
        Ok(self.reader.buffer.get(self.reader.start..self.reader.end).unwrap_or_default())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let Some(stdout) = &mut self.reader.child.stdout else { return Err(self.ended()) };
        match stdout.read(&mut self.reader.buffer) {
            Ok(0) => Err(self.ended()),
            Ok(read) => {
                (self.reader.start, self.reader.end) = (0, read);
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(Error::io("read from", "git")(error)),
        }
    }

    fn send(&mut self) -> Result<(), Error> {
        let part = usize::from(self.pending[0].is_empty());
        let Some(stdin) = &mut self.reader.stdin else { return Err(self.ended()) };
        match stdin.write(self.pending[part]) {
            Ok(written) => self.pending[part] = &self.pending[part][written..],
            Err(error) if is_passing(&error) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(self.ended()),
            Err(error) => return Err(Error::io("write to", "git")(error)),
        }
        Ok(())
    }

    fn ended(&mut self) -> Error {
        self.has_died = true;
        self.reader.ended()
    }

    /// Waits until something can be done without waiting; errors first, then answers, then questions.
    fn wait(&self, is_sending: bool) -> Result<Ready, Error> {
        loop {
            let left = self.ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Deadline { seconds: self.deadline.as_secs() });
            }
            let mut fds = Vec::with_capacity(3);
            let mut kinds = Vec::with_capacity(3);
            if let Some(stderr) = &self.reader.child.stderr {
                fds.push(PollFd::new(stderr, PollFlags::IN));
                kinds.push(Ready::Errors);
            }
            if let Some(stdout) = &self.reader.child.stdout {
                fds.push(PollFd::new(stdout, PollFlags::IN));
                kinds.push(Ready::Output);
            }
            if let (Some(stdin), true) = (&self.reader.stdin, is_sending) {
                fds.push(PollFd::new(stdin, PollFlags::OUT));
                kinds.push(Ready::Input);
            }
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut fds, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(Error::io("wait for", "git")(errno.into())),
                Ok(_) => {}
            }
            let ready = fds.iter().position(|fd| !fd.revents().is_empty());
            if let Some(kind) = ready.and_then(|index| kinds.into_iter().nth(index)) {
                return Ok(kind);
            }
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// `<id> <kind> <size>`, or `<what was asked for> missing`.
fn parse_head(line: &[u8]) -> Option<Head> {
    if line.ends_with(b" missing") || line.ends_with(b" ambiguous") {
        return Some(Head::Missing);
    }
    let mut words = line.split(|byte| *byte == b' ');
    let id = ObjectId::from_hex(words.next()?)?;
    let kind = Kind::parse(words.next()?)?;
    let digits = std::str::from_utf8(words.next()?).ok()?;
    let head = Head::Object { id, kind, bytes: digits.parse().ok()? };
    words.next().is_none().then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_read() {
        let id = "a".repeat(40);
        let head = |text: String| parse_head(text.as_bytes());
        let object = |kind| Head::Object { id: id.parse().unwrap(), kind, bytes: 12 };
        assert_eq!(head(format!("{id} blob 12")), Some(object(Kind::Blob)));
        assert_eq!(head(format!("{id} tag 12")), Some(object(Kind::Tag)));
        assert_eq!(head(format!("{id} missing")), Some(Head::Missing));
        assert_eq!(head("HEAD missing".to_owned()), Some(Head::Missing));
        for bad in ["", "x", "blob 12", &id, &format!("{id} blob -1"), &format!("{id} blob 1 2")] {
            assert_eq!(head(bad.to_owned()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_head(&line);
        }
    }
}
