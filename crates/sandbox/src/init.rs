//! The inner half: what the program does when it was started as `sandgate-init`.
//!
//! First the *launcher*: still the caller's user in the caller's namespaces, it opens what only the caller may open
//! and forks pid 1 into the new ones. It then only waits, so that pid 1 has a parent whose death it notices.

mod child;
mod launch;
mod plain;
mod prepare;
mod privileges;
mod probes;
mod root;
mod seccomp;
mod serve;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::raw;
use crate::socket::{self, Message, Trust};
use crate::wire::{Event, Request};

pub(crate) use root::is_masked_proc;

/// The name the program is started under, as its first argument.
pub(crate) const INIT_NAME: &str = "sandgate-init";

/// Runs the inner half if this process was started as one, and then never returns. The first line of every `main`.
///
/// Does nothing in any other process. It must come before threads are started.
pub fn enter_if_init() {
    if std::env::args_os().next().is_some_and(|name| name == INIT_NAME) {
        raw::exit_now(run());
    }
}

/// A step that failed, as it travels to the host.
#[derive(Debug)]
pub(crate) struct Failure {
    pub step: String,
    pub errno: i32,
}

/// Names the step that an error came from.
pub(crate) trait Step<T> {
    fn step(self, name: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step: name.into(),
            errno: error.into().raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

/// A message that breaks the protocol.
pub(crate) fn bad_request() -> Failure {
    Failure { step: "read the request".to_owned(), errno: libc::EBADMSG }
}

pub(crate) fn tell(control: &OwnedFd, event: &Event) -> io::Result<()> {
    socket::send(control, &event.encode(), &[])
}

fn run() -> i32 {
    let control = match own_descriptors() {
        Ok(control) => control,
        Err(_) => return 2,
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| obey(&control))) {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            // The host may be gone, and then nobody is left to be told.
            let told = tell(&control, &Event::Failed { step: failure.step, errno: failure.errno });
            if told.is_ok() { 1 } else { 3 }
        }
        Err(_) => 4,
    }
}

/// The control socket arrives as standard input. Afterwards 0, 1 and 2 are `/dev/null` and nothing else is open.
fn own_descriptors() -> io::Result<OwnedFd> {
    const CONTROL: i32 = 3;
    let given = raw::take_standard_input();
    let kind = rustix::net::sockopt::socket_type(&given)?;
    if kind != rustix::net::SocketType::SEQPACKET {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let high = raw::copy_fd_above(given.as_fd(), 1000)?;
    drop(given);
    raw::place_fd(high.as_fd(), CONTROL)?;
    drop(high);
    raw::close_from(CONTROL + 1)?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        raw::place_fd(null.as_fd(), standard)?;
    }
    // `null` may itself have become descriptor 0, which stays open.
    std::mem::forget(null);
    raw::close_from(CONTROL + 1)?;
    let control = raw::adopt_fd(CONTROL)?;
    raw::close_on_exec_from(CONTROL)?;
    Ok(control)
}

fn obey(control: &OwnedFd) -> Result<i32, Failure> {
    let Some(Message { body, fds }) =
        socket::receive(control, Trust::Host).step("read the request")?
    else {
        return Ok(0);
    };
    match Request::decode(&body).ok_or_else(bad_request)? {
        Request::Prepare { id_map, program } => prepare::prepare(control, id_map, &program),
        Request::Launch(launch) => launch::launch(control, &launch, fds),
        Request::LaunchPlain(launch) => plain::launch(control, &launch),
        Request::Exec(_) | Request::Probe { .. } | Request::Signal { .. } | Request::KillAll => {
            Err(bad_request())
        }
    }
}
