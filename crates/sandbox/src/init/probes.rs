//! Built-in programs with which the engine finds out whether limits are really held. Nothing needs to be in the root.

use std::time::{Duration, Instant};

use super::child::Starting;
use super::{Failure, Step};
use crate::raw::{self, Pid};
use crate::wire::Probe;

pub(super) fn start(probe: Probe) -> Result<(Pid, Option<Starting>), Failure> {
    match raw::fork().step("fork")? {
        Some(pid) => Ok((pid, None)),
        None => {
            raw::reset_signals();
            raw::exit_now(run(probe))
        }
    }
}

fn run(probe: Probe) -> i32 {
    match probe {
        Probe::Memory(bytes) => i32::from(raw::touch_memory(bytes as usize).is_err()),
        Probe::Forks(most) => forks(most),
        Probe::Spin(milliseconds) => spin(Duration::from_millis(milliseconds.into())),
        Probe::FileSize(bytes) => file_size(bytes),
    }
}

/// Uses that much processor time, but not for ever.
fn spin(wanted: Duration) -> i32 {
    let start = Instant::now();
    loop {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        if used >= wanted {
            return 0;
        }
        if start.elapsed() > Duration::from_secs(1) {
            return 1;
        }
    }
}

/// How many children could be had at one time.
fn forks(most: u32) -> i32 {
    let mut children = 0;
    while children < most {
        match raw::fork() {
            Ok(Some(_)) => children += 1,
            // Killed with the sandbox; a second is for the case that nobody does.
            Ok(None) => {
                std::thread::sleep(Duration::from_secs(1));
                raw::exit_now(0)
            }
            Err(_) => break,
        }
    }
    children.min(255) as i32
}

fn file_size(bytes: u64) -> i32 {
    let written = std::fs::File::create("probe")
        .and_then(|file| std::os::unix::fs::FileExt::write_at(&file, b"x", bytes).map(drop));
    written.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}
