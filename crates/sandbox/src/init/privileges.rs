//! Giving everything up: limits, capabilities, user, `no_new_privs`, the system call filter. In this order.

use std::io;

use super::{Failure, Step, seccomp};
use crate::raw;
use crate::wire::{IdMap, Launch};

const OPEN_FILES: u64 = 65_536;

/// Limits that are set while the launcher may still raise them.
pub(super) fn set_hard_limits(launch: &Launch) -> io::Result<()> {
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
    let largest = raw::hard_limit(libc::RLIMIT_FSIZE)?.min(launch.file_bytes);
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
    for capability in 0..64 {
        match raw::process_control(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error).step("drop the bounding set"),
        }
    }
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
    raw::install_filter(&seccomp::program()).step("install the system call filter")
}
