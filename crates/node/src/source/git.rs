//! Runs the `git` program so that nothing of a repository's configuration can run another one, and nothing of it can take
//! longer or answer more than we allow.
//!
//! The environment is ours alone; the repository is named by `GIT_DIR`, so that `core.worktree` and the ownership of the
//! folder do not matter; hooks, the file-system monitor, every transport and lazy fetching are off. Commands that would
//! compare or write file contents, and with that could run a configured filter, are not used at all: contents are read as
//! raw objects, and compared and written by us.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandgate_objects::Readers;

use crate::Error;
use crate::error::shown;

/// How long one command may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// How long a command may take that reads a whole tree or history.
pub(super) const LONG_DEADLINE: Duration = Duration::from_secs(600);
/// How much a command may answer that has a short answer, in bytes.
pub(super) const SHORT_ANSWER: usize = 1 << 16;
/// How much a listing may take, in bytes.
pub(super) const LONG_ANSWER: usize = 1 << 28;

const STDERR_KEPT: usize = 2000;

/// The `git` program of this machine, and those of its processes that live on to read objects. Clones share them.
#[derive(Debug, Clone)]
pub struct GitProgram {
    program: PathBuf,
    search_path: OsString,
    pub(super) readers: Readers,
}

impl GitProgram {
    /// Finds `git` in the folders `search_path`.
    pub fn find(search_path: &[PathBuf]) -> Result<Self, Error> {
        let absolute = || search_path.iter().filter(|folder| folder.is_absolute());
        let program = absolute()
            .map(|folder| folder.join("git"))
            .find(|program| program.is_file())
            .ok_or(Error::GitMissing)?;
        let mut joined = OsString::new();
        for folder in absolute() {
            if !joined.is_empty() {
                joined.push(":");
            }
            joined.push(folder);
        }
        let readers = Readers::new(program.clone(), joined.clone());
        Ok(Self { program, search_path: joined, readers })
    }

    /// A command on the repository `git_dir`.
    pub(super) fn command(&self, git_dir: &Path, subcommand: &'static str) -> GitCommand {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", &self.search_path)
            .env("LC_ALL", "C")
            .env("GIT_DIR", git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .current_dir(git_dir)
            .process_group(0);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("--no-pager").arg(subcommand);
        GitCommand { command, subcommand, deadline: DEADLINE }
    }
}

/// Settings that win over those of the repository.
const SETTINGS: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.askPass=",
    "credential.helper=",
    "protocol.allow=never",
    "diff.external=",
    "gc.auto=0",
    "core.fsync=none",
    "core.commitGraph=false",
    "pack.compression=1",
    "pack.useBitmaps=false",
    "pack.writeBitmaps=false",
    "maintenance.auto=false",
];

/// A path as git reads it in a list that colons divide.
fn quoted(path: &Path) -> OsString {
    let mut quoted = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            b'\n' => quoted.extend(b"\\n"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// A git command that has not started.
pub(super) struct GitCommand {
    command: Command,
    subcommand: &'static str,
    deadline: Duration,
}

/// What a command answered.
pub(super) struct Answer {
    pub success: bool,
    pub stdout: Vec<u8>,
}

impl GitCommand {
    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(super) fn work_tree(mut self, folder: &Path) -> Self {
        self.command.env("GIT_WORK_TREE", folder).current_dir(folder);
        self
    }

    /// Writes objects below `objects`, and finds those of the repository in `alternate`. Without it a pack begins as a temporary
    /// file in the repository, which need not be writable, nor on the file system that the pack is for.
    pub(super) fn objects(mut self, objects: &Path, alternate: &Path) -> Self {
        self.command
            .env("GIT_OBJECT_DIRECTORY", objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(alternate));
        self
    }

    pub(super) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end; any status but 0 is an error.
    pub(super) fn read(self, input: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        Ok(self.run(input, limit, false)?.stdout)
    }

    /// Runs it to its end; a status of 1 is an answer.
    pub(super) fn ask(self, limit: usize) -> Result<Answer, Error> {
        self.run(&[], limit, true)
    }

    fn run(self, input: &[u8], limit: usize, one_is_answer: bool) -> Result<Answer, Error> {
        let mut running = self.start()?;
        let mut pending = input;
        let mut stdout = Vec::new();
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            let read = running.exchange(&mut pending, &mut buffer)?;
            if read == 0 {
                break;
            }
            if stdout.len() + read > limit {
                let what = format!("the answer of git {}", running.subcommand);
                return Err(Error::TooLarge { what, limit: limit as u64 });
            }
            stdout.extend_from_slice(&buffer[..read]);
        }
        let success = running.finish(one_is_answer)?;
        Ok(Answer { success, stdout })
    }

    /// Starts it, to be talked to.
    pub(super) fn start(mut self) -> Result<Running, Error> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("start", "git"))?;
        let stdin = child.stdin.take();
        let running = Running {
            stdin,
            child,
            subcommand: self.subcommand,
            stderr_kept: Vec::new(),
            stderr_open: true,
            ends: Instant::now() + self.deadline,
            deadline: self.deadline,
            reaped: false,
        };
        running.nonblocking()?;
        Ok(running)
    }
}

/// A running git command; dropping it kills it.
pub(super) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    subcommand: &'static str,
    stderr_kept: Vec<u8>,
    stderr_open: bool,
    ends: Instant,
    deadline: Duration,
    reaped: bool,
}

enum Ready {
    Input,
    Output,
    Errors,
}

impl Running {
    /// Sends `pending`, and the end of the input after it, while waiting for output; returns the number of bytes read, 0 at
    /// the end of the output.
    pub(super) fn exchange(
        &mut self,
        pending: &mut &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        loop {
            if pending.is_empty() {
                self.close_input();
            }
            match self.wait(!pending.is_empty())? {
                Ready::Input => self.send(pending)?,
                Ready::Errors => self.keep_errors()?,
                Ready::Output => {
                    let Some(stdout) = &mut self.child.stdout else { return Ok(0) };
                    match stdout.read(buffer) {
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(Error::io("read from", "git")(error)),
                        Ok(read) => return Ok(read),
                    }
                }
            }
        }
    }

    fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end. `false` is a status of 1 where that is an answer.
    pub(super) fn finish(mut self, one_is_answer: bool) -> Result<bool, Error> {
        self.close_input();
        self.child.stdout = None;
        while self.stderr_open {
            if let Ready::Errors = self.wait(false)? {
                self.keep_errors()?;
            }
        }
        let status = self.child.wait().map_err(Error::io("wait for", "git"))?;
        self.reaped = true;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) if one_is_answer => Ok(false),
            code => Err(Error::Git {
                command: self.subcommand.to_owned(),
                status: code.map_or_else(
                    || format!("signal {}", status.signal().unwrap_or(0)),
                    |code| format!("status {code}"),
                ),
                stderr: shown(self.stderr_kept.trim_ascii()),
            }),
        }
    }

    fn wait(&self, wants_input: bool) -> Result<Ready, Error> {
        loop {
            let left = self.ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::GitDeadline {
                    command: self.subcommand.to_owned(),
                    deadline: self.deadline,
                });
            }
            let mut fds = Vec::with_capacity(3);
            let mut kinds = Vec::with_capacity(3);
            if let (Some(stderr), true) = (&self.child.stderr, self.stderr_open) {
                fds.push(PollFd::new(stderr, PollFlags::IN));
                kinds.push(Ready::Errors);
            }
            if let Some(stdout) = &self.child.stdout {
                fds.push(PollFd::new(stdout, PollFlags::IN));
                kinds.push(Ready::Output);
            }
            if let (Some(stdin), true) = (&self.stdin, wants_input) {
                fds.push(PollFd::new(stdin, PollFlags::OUT));
                kinds.push(Ready::Input);
            }
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut fds, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(Error::system("wait for", "git")(errno)),
                Ok(_) => {}
            }
            let ready = fds.iter().position(|fd| !fd.revents().is_empty());
            if let Some(kind) = ready.and_then(|index| kinds.into_iter().nth(index)) {
                return Ok(kind);
            }
        }
    }

    fn send(&mut self, pending: &mut &[u8]) -> Result<(), Error> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match stdin.write(pending) {
            Ok(written) => *pending = &pending[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // It ended early; its status and its errors say why.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => *pending = &[],
            Err(error) => return Err(Error::io("write to", "git")(error)),
        }
        Ok(())
    }

    fn keep_errors(&mut self) -> Result<(), Error> {
        let Some(stderr) = &mut self.child.stderr else { return Ok(()) };
        let mut buffer = [0_u8; 4096];
        match stderr.read(&mut buffer) {
            Ok(0) => self.stderr_open = false,
            Ok(read) => {
                self.stderr_kept.extend_from_slice(&buffer[..read]);
                let surplus = self.stderr_kept.len().saturating_sub(STDERR_KEPT);
                self.stderr_kept.drain(..surplus);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("read from", "git")(error)),
        }
        Ok(())
    }

    fn nonblocking(&self) -> Result<(), Error> {
        let pipes = [
            self.stdin.as_ref().map(AsFd::as_fd),
            self.child.stdout.as_ref().map(AsFd::as_fd),
            self.child.stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true).map_err(Error::system("prepare", "git"))?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // It is not reaped, so its id, which is also that of its group, can't belong to anybody else.
        if let Some(group) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
