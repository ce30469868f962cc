//! A command that runs in a sandbox.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::watch;

use crate::Error;
use crate::sandbox::Inner;
use crate::wire::Request;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal; also when its sandbox ended (`SIGKILL`).
    Signaled(i32),
}

impl ExitStatus {
    /// Status 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// A command whose program runs, or has run. Dropping it does not end it.
#[derive(Debug)]
pub struct Process {
    pub(crate) id: u32,
    pub(crate) sandbox: Arc<Inner>,
    pub(crate) exit: watch::Receiver<Option<ExitStatus>>,
    pub(crate) started: Instant,
    pub(crate) stdin: Option<Sender>,
    pub(crate) stdout: Option<Receiver>,
    pub(crate) stderr: Option<Receiver>,
    pub(crate) terminal: Option<Terminal>,
}

impl Process {
    /// When its first instruction ran.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The writing end of its input, with [`crate::Stdin::Piped`]; closing it ends the input.
    pub fn take_stdin(&mut self) -> Option<Sender> {
        self.stdin.take()
    }

    /// The reading end of its output, with [`crate::Output::Piped`].
    pub fn take_stdout(&mut self) -> Option<Receiver> {
        self.stdout.take()
    }

    /// The reading end of its error output, with [`crate::Output::Piped`].
    pub fn take_stderr(&mut self) -> Option<Receiver> {
        self.stderr.take()
    }

    /// Its terminal, with [`crate::Output::Pty`].
    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }

    /// Waits for its end. May be called again, and given up and repeated.
    pub async fn wait(&mut self) -> ExitStatus {
        match self.exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or(ExitStatus::Signaled(libc::SIGKILL)),
            // The sandbox went away with all in it.
            Err(_) => ExitStatus::Signaled(libc::SIGKILL),
        }
    }

    /// Its end, if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends a signal to it and its process group. Nothing happens if it has ended.
    pub async fn signal(&self, signal: i32) -> Result<(), Error> {
        if !(1..=64).contains(&signal) {
            return Err(Error::invalid("signal", format!("{signal} is not a signal")));
        }
        if self.status().is_some() {
            return Ok(());
        }
        self.sandbox.ask(&Request::Signal { id: self.id, signal }, &[]).await
    }
}

/// The host's side of a terminal inside.
#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        crate::raw::register(master).map(Self)
    }

    /// Tells it a new size; the foreground program gets `SIGWINCH`.
    pub fn resize(&self, rows: u16, cols: u16) -> io::Result<()> {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }

    /// A second handle, to read and write in different tasks.
    pub fn try_clone(&self) -> io::Result<Self> {
        Self::new(self.0.get_ref().as_fd().try_clone_to_owned()?)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read = guard.try_io(|master| {
                Ok(rustix::io::read(master.get_ref(), buffer.initialize_unfilled())?)
            });
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // Linux says so when the last program on the terminal is gone: the end of the output.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|master| Ok(rustix::io::write(master.get_ref(), bytes)?)) {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
