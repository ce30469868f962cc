//! The two ends of what a command reads and writes.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::{Receiver, Sender};

use crate::spec::{Output, Stdin};
use crate::wire::Streams;

/// The descriptors of a command: those for inside and those for the caller.
pub(crate) struct Ends {
    pub streams: Streams,
    pub inner: Vec<OwnedFd>,
    pub stdin: Option<Sender>,
    pub stdout: Option<Receiver>,
    pub stderr: Option<Receiver>,
}

impl Ends {
    pub fn open(stdin: Stdin, output: Output) -> io::Result<Self> {
        let mut ends = Self {
            streams: Streams::Given,
            inner: Vec::with_capacity(3),
            stdin: None,
            stdout: None,
            stderr: None,
        };
        if let Output::Pty { rows, cols } = output {
            ends.streams = Streams::Terminal { rows, cols };
            return Ok(ends);
        }
        match stdin {
            Stdin::Null => ends.inner.push(std::fs::File::open("/dev/null")?.into()),
            Stdin::Inherit(fd) => ends.inner.push(fd),
            Stdin::Piped => {
                let (reader, writer) = pipe()?;
                ends.inner.push(reader);
                ends.stdin = Some(Sender::from_owned_fd(writer)?);
            }
        }
        match output {
            Output::Fds { stdout, stderr } => ends.inner.extend([stdout, stderr]),
            Output::Piped | Output::Pty { .. } => {
                for stream in [&mut ends.stdout, &mut ends.stderr] {
                    let (reader, writer) = pipe()?;
                    ends.inner.push(writer);
                    *stream = Some(Receiver::from_owned_fd(reader)?);
                }
            }
        }
        Ok(ends)
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}
