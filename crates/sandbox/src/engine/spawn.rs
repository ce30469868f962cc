//! Starting the inner half and hearing its first answer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Error;
use crate::cgroup::Group;
use crate::init::{INIT_NAME, is_masked_proc};
use crate::sandbox::{end_of, open_scratch, remove_group};
use crate::socket::{self, Trust};
use crate::spec::{EngineConfig, Spec};
use crate::wire::{Event, IdMap, Request};

/// Setting up takes milliseconds; this is for a machine on its knees.
const PATIENCE: Duration = Duration::from_secs(30);

/// A started inner half.
pub struct Inner {
    pub socket: AsyncFd<OwnedFd>,
    pub launcher: Child,
}

/// The protected program, or before there is one the configured.
pub fn program(protected: Option<&OwnedFd>, config: &EngineConfig) -> PathBuf {
    match protected {
        Some(fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
        None => config.init_program.clone(),
    }
}

impl Inner {
    /// Starts it and sends the first request. Needs the context of a runtime.
    pub fn start(
        program: &PathBuf,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Self, Error> {
        let fail = || Error::host(format!("could not start {}", program.display()));
        let (ours, theirs) = socket::pair().map_err(fail())?;
        let launcher = Command::new(program)
            .arg0(INIT_NAME)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(fail())?;
        let sent = socket::send(&ours, &request.encode(), fds);
        let socket = sent
            .and_then(|()| Ok(rustix::io::ioctl_fionbio(&ours, true)?))
            .and_then(|()| crate::raw::register(ours));
        match socket {
            Ok(socket) => Ok(Self { socket, launcher }),
            Err(error) => {
                let mut launcher = launcher;
                // Its socket is closed, so it ends by itself; killed to be sure of the wait.
                launcher.kill().ok();
                launcher.wait().ok();
                Err(fail()(error))
            }
        }
    }

    /// The next event, within bounds.
    pub async fn listen(&mut self) -> Result<(Event, Vec<OwnedFd>), Error> {
        let receive = |socket: &OwnedFd| socket::receive(socket, Trust::Inner);
        let message = self.socket.async_io(Interest::READABLE, receive);
        let message = match tokio::time::timeout(PATIENCE, message).await {
            Ok(message) => message.map_err(Error::host("could not hear the new sandbox"))?,
            Err(_) => {
                return Err(Error::Setup {
                    step: format!("no answer in {} s", PATIENCE.as_secs()),
                    source: io::ErrorKind::TimedOut.into(),
                });
            }
        };
        let event = message.and_then(|message| Some((Event::decode(&message.body)?, message.fds)));
        event.ok_or_else(|| Error::Setup {
            step: "it ended without a word; does main begin with enter_if_init()?".to_owned(),
            source: io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// Ends a half-made sandbox.
    pub async fn end_sandbox(self, spec: &Spec, group: Group) {
        self.end(&spec.name, group).await;
        open_scratch(&spec.name, &spec.work);
    }

    /// Ends it, wherever it is.
    pub async fn end(self, name: &str, group: Group) {
        let Self { socket, mut launcher } = self;
        drop(socket);
        if end_of(&mut launcher, Duration::from_secs(2)).await.is_err() {
            group.kill();
            // Already ended is as good.
            launcher.kill().ok();
            if let Err(error) = end_of(&mut launcher, PATIENCE).await {
                tracing::error!(sandbox.name = name, %error, "a launcher cannot be ended");
            }
        }
        remove_group(name, group).await;
    }
}

/// A failed step, as the caller should see it.
pub fn setup_error(step: String, errno: i32, id_map: IdMap) -> Error {
    if is_masked_proc(&step, errno, id_map) {
        return Error::Unsupported {
            what: "a /proc of the sandbox's own".to_owned(),
            reason: "parts of this machine's /proc are hidden, as containers do".to_owned(),
            instead: "run as root, or start the container with an unmasked /proc (docker: \
                      --security-opt systempaths=unconfined)"
                .to_owned(),
        };
    }
    Error::Setup { step, source: io::Error::from_raw_os_error(errno) }
}
