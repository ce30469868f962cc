//! Pid 1, or the reaper of the process level: starts commands on request, reaps everything, tells what happened. Ends when
//! the host does.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};

use super::child::{self, Outcome, Starting};
use super::{Failure, bad_request, probes, tell};
use crate::raw::{self, Pid};
use crate::socket::{self, Message, Trust};
use crate::wire::{Event, Request};

struct Running {
    id: u32,
    /// Until the program runs.
    starting: Option<Starting>,
}

/// What a kill of everything reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All that is in the process namespace, by one call.
    Namespace,
    /// All that descends from this process, which orphans come to.
    Descendants,
}

struct Server<'a> {
    control: &'a OwnedFd,
    probe: bool,
    reach: Reach,
    running: BTreeMap<Pid, Running>,
    killing: bool,
}

/// Serves until the control socket closes; gives the exit code of pid 1.
pub(super) fn serve(control: &OwnedFd, probe: bool, reach: Reach) -> i32 {
    let mut server = Server { control, probe, reach, running: BTreeMap::new(), killing: false };
    match server.serve() {
        Ok(()) => 0,
        Err(_) => 6,
    }
}

impl Server<'_> {
    fn serve(&mut self) -> io::Result<()> {
        let signals = raw::child_signals()?;
        loop {
            let (control_ready, signals_ready) = self.wait(signals.as_fd())?;
            self.report_started()?;
            if signals_ready {
                let mut discarded = [0; 1024];
                match rustix::io::read(&signals, &mut discarded) {
                    Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
                    Err(errno) => return Err(errno.into()),
                }
                self.reap()?;
            }
            if control_ready {
                match socket::receive(self.control, Trust::Host)? {
                    None => return Ok(()),
                    Some(message) => self.obey(message)?,
                }
            }
        }
    }

    fn wait(&self, signals: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
        let mut fds = vec![
            PollFd::new(self.control, PollFlags::IN),
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
        ];
        let starting = self.running.values().filter_map(|running| running.starting.as_ref());
        fds.extend(starting.map(|starting| PollFd::new(&starting.outcome, PollFlags::IN)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
    }

    fn obey(&mut self, message: Message) -> io::Result<()> {
        let Some(request) = Request::decode(&message.body) else {
            return Err(socket::malformed("is not understood"));
        };
        match request {
            Request::Exec(exec) => {
                let id = exec.id;
                let started = child::start(&exec, message.fds, self.reach == Reach::Descendants);
                self.note(id, started)
            }
            Request::Probe { id, probe } => {
                let started = if self.probe { probes::start(probe) } else { Err(bad_request()) };
                self.note(id, started)
            }
            Request::Signal { id, signal } => {
                let target = self.running.iter().find(|(_, running)| running.id == id);
                if let Some((&pid, _)) = target {
                    // Its whole group, as a terminal would; not reaped yet, so the id is still its own.
                    match raw::kill(-pid, signal).or_else(|_| raw::kill(pid, signal)) {
                        Ok(()) => {}
                        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            Request::KillAll => {
                self.killing = true;
                self.kill_all()?;
                self.reap()
            }
            Request::Prepare { .. } | Request::Launch(_) | Request::LaunchPlain(_) => {
                Err(socket::malformed("comes too late"))
            }
        }
    }

    fn note(
        &mut self,
        id: u32,
        started: Result<(Pid, Option<Starting>), Failure>,
    ) -> io::Result<()> {
        match started {
            Ok((pid, starting)) => {
                if starting.is_none() {
                    tell(self.control, &Event::Started { id, nanoseconds: now() })?;
                }
                self.running.insert(pid, Running { id, starting });
                Ok(())
            }
            Err(Failure { step, errno }) => {
                tell(self.control, &Event::ExecFailed { id, step, errno })
            }
        }
    }

    fn report_started(&mut self) -> io::Result<()> {
        let mut failed = Vec::new();
        for (&pid, running) in &mut self.running {
            let Some(starting) = running.starting.take() else { continue };
            match report(self.control, running.id, starting)? {
                Progress::Runs => {}
                Progress::Unknown(starting) => running.starting = Some(starting),
                Progress::Failed => failed.push(pid),
            }
        }
        for pid in failed {
            // Its end is no news any more; it is reaped like a stranger.
            self.running.remove(&pid);
        }
        Ok(())
    }

    /// Ends everything but pid 1. One call reaches all, also what is being forked just now.
    fn kill_all(&self) -> io::Result<()> {
        match self.reach {
            Reach::Namespace => kill(-1),
            Reach::Descendants => kill_descendants(),
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            match raw::wait(-1, libc::WNOHANG) {
                Ok(Some((pid, status))) => self.ended(pid, status)?,
                Ok(None) => {
                    // What was forked meanwhile has come to us with the death of its parent.
                    if self.killing && self.reach == Reach::Descendants {
                        kill_descendants()?;
                    }
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                    if self.killing {
                        self.killing = false;
                        tell(self.control, &Event::Killed)?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: i32) -> io::Result<()> {
        let Some(Running { id, starting }) = self.running.remove(&pid) else {
            return Ok(());
        };
        // It is dead, so the outcome of its start is complete.
        if let Some(starting) = starting
            && !matches!(report(self.control, id, starting)?, Progress::Runs)
        {
            return Ok(());
        }
        let signaled = libc::WIFSIGNALED(status);
        let code = if signaled { libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
        tell(self.control, &Event::Ended { id, signaled, code })
    }
}

fn kill(pid: Pid) -> io::Result<()> {
    match raw::kill(pid, libc::SIGKILL) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Kills all that descends from this process now. Whoever is forked just now comes to us when its parent dies.
fn kill_descendants() -> io::Result<()> {
    descendants(std::process::id().cast_signed())?.into_iter().try_for_each(kill)
}

/// Ends all that descends from this process, and waits for it.
pub(super) fn end_descendants() {
    // Without /proc the end of this process is all that is left: it kills its children.
    while kill_descendants().is_ok() && matches!(raw::wait(-1, 0), Ok(Some(_))) {}
}

fn descendants(ancestor: Pid) -> io::Result<Vec<Pid>> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<Pid>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = living_parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut pending = vec![ancestor];
    while let Some(pid) = pending.pop() {
        let own = children.remove(&pid).unwrap_or_default();
        pending.extend(&own);
        found.extend(own);
    }
    Ok(found)
}

/// The parent of a process. Its name is in brackets and may hold anything, brackets too.
fn living_parent(stat: &str) -> Option<Pid> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

enum Progress {
    Unknown(Starting),
    Runs,
    Failed,
}

/// Tells the outcome of a start if it is known.
fn report(control: &OwnedFd, id: u32, mut starting: Starting) -> io::Result<Progress> {
    match starting.poll()? {
        Outcome::Unknown => Ok(Progress::Unknown(starting)),
        Outcome::Runs => {
            let event = Event::Started { id, nanoseconds: now() }.encode();
            let master: Vec<BorrowedFd<'_>> = starting.master.iter().map(AsFd::as_fd).collect();
            socket::send(control, &event, &master)?;
            Ok(Progress::Runs)
        }
        Outcome::Failed(Failure { step, errno }) => {
            tell(control, &Event::ExecFailed { id, step, errno })?;
            Ok(Progress::Failed)
        }
    }
}

fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
