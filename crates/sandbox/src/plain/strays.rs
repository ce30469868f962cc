//! Processes of a sandbox that outlived its inner half: found by their environment, which they were born with.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::MARK;

/// Killed processes are gone within milliseconds; this is for a machine on its knees.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// Kills every process of this user that was started in the sandbox `name` of the process level, and waits for their end.
/// Gives how many there were. There are none unless something killed the inner half of the sandbox.
///
/// # Errors
/// If `/proc` can't be read, or some of them do not end.
pub fn end_strays(name: &str) -> io::Result<usize> {
    let begin = Instant::now();
    let mut ended = 0;
    loop {
        let mut left = 0;
        for pid in marked(name)? {
            // Opened before it is looked at once more: the id may be another's by now.
            let Ok(process) = open(pid) else { continue };
            if is_marked(pid, name) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
                left += 1;
            }
        }
        if left == 0 {
            return Ok(ended);
        }
        ended = ended.max(left);
        if begin.elapsed() > PATIENCE {
            let text = format!("{left} processes of `{name}` do not end");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(PAUSE);
    }
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn marked(name: &str) -> io::Result<Vec<u32>> {
    let own = std::process::id();
    let ids = fs::read_dir("/proc")?.flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|&pid: &u32| pid != own && is_marked(pid, name)).collect())
}

/// Of others nobody may read the environment, and a process that has ended has none.
fn is_marked(pid: u32, name: &str) -> bool {
    let mark = format!("{MARK}={name}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
}
