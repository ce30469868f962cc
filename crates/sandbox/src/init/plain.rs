//! The inner half at the process level: no namespace, no root of its own, but the reaper of everything it starts.

use std::fs;
use std::os::fd::OwnedFd;

use super::launch::OOM_SCORE;
use super::serve::{self, Reach};
use super::{Failure, Step, privileges, tell};
use crate::raw;
use crate::wire::{Event, PlainLaunch};

pub(super) fn launch(control: &OwnedFd, launch: &PlainLaunch) -> Result<i32, Failure> {
    // Out of the caller's group: what a terminal sends to it is not for us.
    rustix::process::setsid().step("become a session")?;
    raw::ignore_signals();
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).step("lower the importance for memory")?;
    fs::write("/proc/self/comm", super::INIT_NAME).step("set the process name")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir(&launch.root)
        .step(format!("enter the folder {}", launch.root.display()))?;
    for file in &launch.cgroup_files {
        fs::write(file, "0").step(format!("enter the cgroup of {}", file.display()))?;
    }
    raw::process_control(libc::PR_SET_CHILD_SUBREAPER, 1).step("become the reaper")?;
    privileges::give_up_plain(launch)?;
    tell(control, &Event::Ready).step("answer")?;
    let code = serve::serve(control, launch.probe, Reach::Descendants);
    // The host is gone, or wants the end.
    serve::end_descendants();
    Ok(code)
}
