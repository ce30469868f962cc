//! The launcher: opens host paths, forks pid 1 into new namespaces, maps its ids, waits.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Failure, Step, bad_request, privileges, root, serve, tell};
use crate::raw::{self, Pid};
use crate::tree::{self, Trees};
use crate::wire::{Event, IdMap, Launch};

/// The first host id of the range that inner ids are mapped to, and how many there are. Never host user 0.
pub(crate) const RANGE: (u32, u32) = (100_000, 65_536);

/// More likely to be killed than the host's own programs when the whole machine is out of memory.
pub(super) const OOM_SCORE: &str = "500";

pub(super) fn launch(
    control: &OwnedFd,
    launch: &Launch,
    fds: Vec<OwnedFd>,
) -> Result<i32, Failure> {
    let mut fds = fds.into_iter();
    let id_map_fd = match launch.id_map {
        IdMap::Range => Some(fds.next().ok_or_else(bad_request)?),
        IdMap::Single { .. } => None,
    };
    let cgroup = if launch.has_cgroup { Some(fds.next().ok_or_else(bad_request)?) } else { None };
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).step("lower the importance for memory")?;
    fs::write("/proc/self/comm", super::INIT_NAME).step("set the process name")?;
    privileges::set_hard_limits(launch.file_bytes).step("set resource limits")?;
    // Inside the new mount namespace this is still the same place; a path might no longer be reachable.
    rustix::process::chdir(&launch.stage)
        .step(format!("enter the state directory {}", launch.stage.display()))?;
    let trees = match &id_map_fd {
        Some(id_map) => Some(tree::open(launch, Some(id_map.as_fd()))?),
        None => None,
    };
    drop(id_map_fd);
    let meeting = Meeting::new().step("make pipes")?;
    let namespaces = match launch.id_map {
        // A process namespace made by root can mount its /proc even where parts of the host's are hidden.
        IdMap::Range => libc::CLONE_NEWPID,
        IdMap::Single { .. } => libc::CLONE_NEWPID | libc::CLONE_NEWUSER,
    };
    let forked = raw::fork_into(namespaces, cgroup.as_ref().map(AsFd::as_fd));
    match forked.step("make the process namespace")? {
        None => {
            let code = first_process(control, launch, trees, meeting);
            raw::exit_now(code)
        }
        Some(pid) => {
            drop((trees, cgroup));
            guard(control, launch, pid, meeting)
        }
    }
}

/// Two pipes on which launcher and pid 1 wait for each other.
struct Meeting {
    up: (OwnedFd, OwnedFd),
    down: (OwnedFd, OwnedFd),
}

impl Meeting {
    fn new() -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        Ok(Self { up: pipe()?, down: pipe()? })
    }
}

fn signal(pipe: OwnedFd) -> io::Result<()> {
    fs::File::from(pipe).write_all(b"1")
}

fn await_signal(pipe: OwnedFd) -> io::Result<()> {
    let mut byte = [0];
    fs::File::from(pipe).read_exact(&mut byte)
}

/// The launcher's rest: map, release, wait.
fn guard(control: &OwnedFd, launch: &Launch, pid: Pid, meeting: Meeting) -> Result<i32, Failure> {
    let Meeting { up: (up_read, up_write), down: (down_read, down_write) } = meeting;
    drop((up_write, down_read));
    let mapped = map_when_ready(launch, pid, up_read);
    if let Err(failure) = mapped {
        // It may have died of its own failure, which it has told already; the host takes the first.
        drop(down_write);
        kill_and_wait(pid);
        return Err(failure);
    }
    if signal(down_write).is_err() {
        kill_and_wait(pid);
        return Ok(1);
    }
    release_control(control);
    let ended = raw::wait(pid, 0).step("wait for pid 1")?;
    Ok(ended.map_or(0, |(_, status)| i32::from(status != 0)))
}

fn kill_and_wait(pid: Pid) {
    if raw::kill(pid, libc::SIGKILL).is_ok() {
        while matches!(raw::wait(pid, 0), Ok(Some((ended, _))) if ended != pid) {}
    }
}

/// From here on only pid 1 holds the socket, so that its closing means pid 1 is gone.
fn release_control(control: &OwnedFd) {
    let null = fs::File::open("/dev/null");
    if let Ok(null) = null
        && raw::place_fd(null.as_fd(), std::os::fd::AsRawFd::as_raw_fd(control)).is_err()
    {
        raw::exit_now(5);
    }
}

fn map_when_ready(launch: &Launch, pid: Pid, up_read: OwnedFd) -> Result<(), Failure> {
    await_signal(up_read).step("wait for pid 1")?;
    map_ids(pid, launch.id_map)
}

/// Writes the id maps of a process in a new user namespace.
pub(super) fn map_ids(pid: Pid, id_map: IdMap) -> Result<(), Failure> {
    let (users, groups) = match id_map {
        IdMap::Range => {
            let map = format!("0 {} {}\n", RANGE.0, RANGE.1);
            (map.clone(), map)
        }
        IdMap::Single { user, group } => {
            fs::write(format!("/proc/{pid}/setgroups"), "deny").step("forbid setgroups")?;
            let id = crate::GATE_ID;
            (format!("{id} {user} 1\n"), format!("{id} {group} 1\n"))
        }
    };
    fs::write(format!("/proc/{pid}/uid_map"), users).step("map user ids")?;
    fs::write(format!("/proc/{pid}/gid_map"), groups).step("map group ids")
}

/// Pid 1, from its first instruction.
fn first_process(
    control: &OwnedFd,
    launch: &Launch,
    trees: Option<Trees>,
    meeting: Meeting,
) -> libc::c_int {
    let built = become_first(launch, meeting).and_then(|proc| {
        let listener = root::build(launch, trees, proc)?;
        privileges::give_up(launch)?;
        Ok(listener)
    });
    match built {
        Ok(listener) => {
            let fds: Vec<BorrowedFd<'_>> = listener.iter().map(AsFd::as_fd).collect();
            if crate::socket::send(control, &Event::Ready.encode(), &fds).is_err() {
                return 3;
            }
            drop(listener);
            serve::serve(control, launch.probe, serve::Reach::Namespace)
        }
        Err(failure) => {
            let told = tell(control, &Event::Failed { step: failure.step, errno: failure.errno });
            if told.is_ok() { 1 } else { 3 }
        }
    }
}

/// Enters the groups of version 1, before anything that should count there.
///
/// A thread that moves itself needs not wait for all others of the machine: moving a process from outside may take a
/// grace period of the kernel, ten milliseconds and more.
fn enter_cgroups(launch: &Launch) -> Result<(), Failure> {
    launch.cgroup_files.iter().try_for_each(|file| {
        fs::write(file, "0").step(format!("enter the cgroup of {}", file.display()))
    })
}

/// Enters the user namespace. Gives the `/proc` that was mounted before it, in range mode.
fn become_first(launch: &Launch, meeting: Meeting) -> Result<Option<OwnedFd>, Failure> {
    let Meeting { up: (up_read, up_write), down: (down_read, down_write) } = meeting;
    drop((up_read, down_write));
    enter_cgroups(launch)?;
    let proc = match launch.id_map {
        IdMap::Range => {
            let proc = root::mount_proc()?;
            raw::unshare(libc::CLONE_NEWUSER).step("make the user namespace")?;
            Some(proc)
        }
        IdMap::Single { .. } => None,
    };
    signal(up_write).step("tell the launcher")?;
    await_signal(down_read).step("wait for the launcher")?;
    if launch.id_map == IdMap::Range {
        raw::become_user(0).step("become the inner root")?;
    }
    let rest = libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    raw::unshare(rest).step("make the other namespaces")?;
    Ok(proc)
}
