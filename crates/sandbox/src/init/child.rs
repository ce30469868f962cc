//! Starting one command from pid 1.

use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::pty::OpenptFlags;

use super::{Failure, Step, bad_request};
use crate::raw::{self, Pid};
use crate::wire::{Exec, Streams};

const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";
const STEPS: [&str; 4] = ["set up the streams", "change directory", "execute", "become a session"];

/// A child between fork and its program.
pub(super) struct Starting {
    /// Closed by the exec, or carries why there was none.
    pub outcome: OwnedFd,
    /// The host's side of its terminal.
    pub master: Option<OwnedFd>,
    heard: Vec<u8>,
}

pub(super) enum Outcome {
    Unknown,
    Runs,
    Failed(Failure),
}

impl Starting {
    /// Looks without waiting.
    pub fn poll(&mut self) -> io::Result<Outcome> {
        let mut buffer = [0; 16];
        loop {
            match rustix::io::read(&self.outcome, &mut buffer) {
                Ok(0) => break,
                Ok(count) => self.heard.extend(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Outcome::Unknown),
                Err(errno) => return Err(errno.into()),
            }
        }
        let Some((&step, errno)) = self.heard.split_first() else { return Ok(Outcome::Runs) };
        let errno = errno.try_into().map(i32::from_le_bytes).unwrap_or(libc::EIO);
        let step = STEPS.get(usize::from(step)).unwrap_or(&"start");
        Ok(Outcome::Failed(Failure { step: (*step).to_owned(), errno }))
    }
}

/// Forks and executes; the outcome is known later.
///
/// With `dies` the command itself is killed when this process ends, which the end of a namespace does anyway.
pub(super) fn start(
    exec: &Exec,
    fds: Vec<OwnedFd>,
    dies: bool,
) -> Result<(Pid, Option<Starting>), Failure> {
    let streams = Given::open(exec, fds)?;
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (outcome, tell) = rustix::pipe::pipe_with(flags).step("make a pipe")?;
    let program = Program { dies, ..Program::new(exec)? };
    match raw::fork().step("fork")? {
        None => {
            let (step, error) = become_program(&program, &streams);
            let mut message = vec![step];
            message.extend(error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes());
            let told = std::fs::File::from(tell).write_all(&message);
            raw::exit_now(if told.is_ok() { 127 } else { 126 });
        }
        Some(pid) => {
            let starting = Starting { outcome, master: streams.master, heard: Vec::new() };
            Ok((pid, Some(starting)))
        }
    }
}

/// The descriptors a command will have as 0, 1 and 2.
struct Given {
    standard: [OwnedFd; 3],
    master: Option<OwnedFd>,
}

impl Given {
    fn open(exec: &Exec, fds: Vec<OwnedFd>) -> Result<Self, Failure> {
        match exec.streams {
            Streams::Given => {
                let standard = fds.try_into().map_err(|_| bad_request())?;
                Ok(Self { standard, master: None })
            }
            Streams::Terminal { rows, cols } => terminal(rows, cols).step("open a terminal"),
        }
    }
}

fn terminal(rows: u16, cols: u16) -> io::Result<Given> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // Not through a path that the layers or the author could have made: /dev is read-only and ours.
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let standard = [slave.try_clone()?, slave.try_clone()?, slave];
    Ok(Given { standard, master: Some(master) })
}

/// Everything `execve` wants, made before the fork.
struct Program {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    terminal: bool,
    dies: bool,
}

impl Program {
    fn new(exec: &Exec) -> Result<Self, Failure> {
        let text = |text: &OsString| CString::new(text.as_bytes()).map_err(|_| bad_request());
        let argv = exec.argv.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let env = exec.env.iter().map(|(name, value)| {
            let mut entry = name.clone().into_vec();
            entry.push(b'=');
            entry.extend(value.as_bytes());
            CString::new(entry).map_err(|_| bad_request())
        });
        let env = env.collect::<Result<Vec<_>, _>>()?;
        let cwd = text(&exec.cwd.clone().into_os_string())?;
        let candidates = candidates(exec)?;
        let terminal = matches!(exec.streams, Streams::Terminal { .. });
        Ok(Self { candidates, argv, env, cwd, terminal, dies: false })
    }
}

/// The paths to try, as `execvp` would.
fn candidates(exec: &Exec) -> Result<Vec<CString>, Failure> {
    let program = exec.argv.first().ok_or_else(bad_request)?.as_bytes();
    if program.contains(&b'/') {
        return Ok(vec![CString::new(program).map_err(|_| bad_request())?]);
    }
    let path = exec.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
    let folders = path.split(|&byte| byte == b':').filter(|folder| !folder.is_empty());
    let candidates = folders.map(|folder| {
        let joined = [folder, b"/", program].concat();
        CString::new(joined).map_err(|_| bad_request())
    });
    candidates.collect()
}

/// In the child: gives only what prevented it, with the index of the step.
fn become_program(program: &Program, streams: &Given) -> (u8, io::Error) {
    if let Err(error) = rustix::process::setsid() {
        return (3, error.into());
    }
    if program.dies
        && let Err(error) =
            raw::process_control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
    {
        return (3, error);
    }
    // Copies above the three, as a later one may be in the place of an earlier.
    let mut copies = Vec::new();
    for stream in &streams.standard {
        match raw::copy_fd_above(stream.as_fd(), 3) {
            Ok(copy) => copies.push(copy),
            Err(error) => return (0, error),
        }
    }
    for (number, stream) in (0..).zip(&copies) {
        if let Err(error) = raw::place_fd(stream.as_fd(), number) {
            return (0, error);
        }
    }
    if program.terminal
        && let Err(error) = rustix::process::ioctl_tiocsctty(&copies[0])
    {
        return (0, error.into());
    }
    if let Err(error) = raw::close_on_exec_from(3) {
        return (0, error);
    }
    raw::reset_signals();
    if let Err(error) = rustix::process::chdir(&*program.cwd) {
        return (1, error.into());
    }
    (2, execute(program))
}

fn execute(program: &Program) -> io::Error {
    let mut denied = None;
    for candidate in &program.candidates {
        let error = raw::execute(candidate, &program.argv, &program.env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => denied = Some(error),
            _ => return error,
        }
    }
    denied.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}
