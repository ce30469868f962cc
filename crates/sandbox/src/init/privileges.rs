//! Giving everything up: limits, capabilities, user, `no_new_privs`, the system call filter. In this order.
//!
//! At the process level the user stays the caller's; root keeps what owning files needs, as build tools count on it.

use std::io;

use super::{Failure, Step, seccomp};
use crate::raw;
use crate::wire::{IdMap, Launch, PlainLaunch};

const OPEN_FILES: u64 = 65_536;

/// Limits that are set while the launcher may still raise them.
pub(super) fn set_hard_limits(file_bytes: u64) -> io::Result<()> {
    let files = match raw::set_limit(libc::RLIMIT_NOFILE, OPEN_FILES) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let hard = raw::hard_limit(libc::RLIMIT_NOFILE)?;
            raw::set_limit(libc::RLIMIT_NOFILE, hard.min(OPEN_FILES))
        }
        other => other,
    };
    files?;
    raw::set_limit(libc::RLIMIT_CORE, 0)?;
    raw::set_limit(libc::RLIMIT_NICE, 0)?;
    raw::set_limit(libc::RLIMIT_RTPRIO, 0)?;
    let largest = raw::hard_limit(libc::RLIMIT_FSIZE)?.min(file_bytes);
    raw::set_limit(libc::RLIMIT_FSIZE, largest)
}

/// Becomes the gate's user without any privilege.
pub(super) fn give_up(launch: &Launch) -> Result<(), Failure> {
    if let Some(processes) = launch.process_limit {
        // Counted per user and user namespace, so this sandbox alone.
        let hard = raw::hard_limit(libc::RLIMIT_NPROC).step("read the process limit")?;
        raw::set_limit(libc::RLIMIT_NPROC, hard.min(u64::from(processes)))
            .step("limit processes")?;
    }
    // The bounding set must go before the user changes: afterwards dropping it is refused.
    drop_bounding_set(&[]).step("drop the bounding set")?;
    // Root means nothing and nothing can be raised, locked; capabilities are never kept over a change of user.
    raw::process_control(libc::PR_SET_SECUREBITS, 0b1110_0011).step("lock the secure bits")?;
    match launch.id_map {
        IdMap::Range => raw::become_user(crate::GATE_ID).step("become the gate's user")?,
        IdMap::Single { .. } => {}
    }
    raw::drop_capabilities().step("drop capabilities")?;
    // After the change of user, which clears both.
    raw::process_control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
        .step("die with the launcher")?;
    raw::process_control(libc::PR_SET_DUMPABLE, 0).step("forbid looking into pid 1")?;
    raw::process_control(libc::PR_SET_NO_NEW_PRIVS, 1).step("forbid new privileges")?;
    raw::install_filter(&seccomp::program(&[])).step("install the system call filter")
}

/// What root may still do at the process level: change owners and modes of files, as `tar` and `install` do for it.
const KEPT: [libc::c_ulong; 4] = [0, 1, 3, 4];

fn drop_bounding_set(kept: &[libc::c_ulong]) -> io::Result<()> {
    for capability in (0..64).filter(|capability| !kept.contains(capability)) {
        match raw::process_control(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Stays the caller's user, and gives up the rest.
pub(super) fn give_up_plain(launch: &PlainLaunch) -> Result<(), Failure> {
    set_hard_limits(launch.file_bytes).step("set resource limits")?;
    let lower = |resource, value: u64| {
        let hard = raw::hard_limit(resource)?;
        raw::set_limit(resource, hard.min(value))
    };
    if let Some(processes) = launch.process_limit {
        // Counted with all other processes of this user.
        let others = own_tasks().step("count the processes of this user")?;
        lower(libc::RLIMIT_NPROC, others + u64::from(processes)).step("limit processes")?;
    }
    if let Some(bytes) = launch.data_bytes {
        lower(libc::RLIMIT_DATA, bytes).step("limit the memory of each process")?;
    }
    if rustix::process::geteuid().is_root() {
        match drop_bounding_set(&KEPT) {
            // A root that may not is one without privileges, as in a container that was started so.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            other => other.step("drop the bounding set")?,
        }
    }
    raw::process_control(libc::PR_SET_DUMPABLE, 0).step("forbid looking into the reaper")?;
    raw::process_control(libc::PR_SET_NO_NEW_PRIVS, 1).step("forbid new privileges")?;
    let spared = [std::process::id(), launch.host];
    raw::install_filter(&seccomp::program(&spared)).step("install the system call filter")
}

/// Processes and threads of this user, on the whole machine.
fn own_tasks() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::getuid().as_raw();
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let is_number = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        // What ends meanwhile has no entry any more.
        if is_number && entry.metadata().is_ok_and(|found| found.uid() == own) {
            let tasks = std::fs::read_dir(entry.path().join("task"));
            count += tasks.map_or(0, |tasks| tasks.count() as u64);
        }
    }
    Ok(count)
}
