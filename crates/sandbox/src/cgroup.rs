//! Control groups, version 1, version 2 and both beside each other.
//!
//! Sandboxes live at `<own group>/<name>-<pid of the engine>-<number>/<sandbox>`; the middle part lets a later engine remove
//! what a killed one left. Which tree serves which controller is decided from `/proc/self/mountinfo` and
//! `/proc/self/cgroup` by pure functions.

mod layout;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use sandgate_domain::Resources;

use crate::report::CgroupFlavour;
use crate::spec::Usage;
use layout::Layout;

/// What is limited through control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// In which a share of processor time is held.
const PERIOD: Duration = Duration::from_millis(100);
/// The same for a probe, which waits for the end of one.
const SHORT_PERIOD: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The groups of one engine.
#[derive(Debug)]
pub struct Cgroups {
    pub flavour: CgroupFlavour,
    /// Directories of this engine in version 1 trees (several controllers may share one).
    one: Vec<(Controller, PathBuf)>,
    /// This engine's directory in the version 2 tree and the controllers it hands on.
    two: Option<(PathBuf, Vec<Controller>)>,
    /// Why a controller is missing.
    pub missing: Vec<(Controller, String)>,
}

impl Cgroups {
    /// Finds the trees and makes this engine's directories. Never fails: what cannot be had is missing with a reason.
    pub fn open(name: &str) -> Self {
        // Several engines may be in one process.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let own_name = format!("{name}-{}-{number}", std::process::id());
        let read = |path| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        match (read("/proc/self/mountinfo"), read("/proc/self/cgroup")) {
            (Ok(mounts), Ok(own)) => {
                let layout = Layout::parse(&mounts, &own);
                layout.directories().for_each(|own| sweep(own, name));
                Self::open_in(&layout, &own_name)
            }
            (Err(reason), _) | (_, Err(reason)) => Self {
                flavour: CgroupFlavour::None,
                one: Vec::new(),
                two: None,
                missing: Controller::ALL.map(|controller| (controller, reason.clone())).to_vec(),
            },
        }
    }

    fn open_in(layout: &Layout, name: &str) -> Self {
        let mut reasons = Vec::new();
        let two = layout.two.as_ref().and_then(|own| match open_two(own, name) {
            Ok(opened) => Some(opened),
            Err(error) => {
                reasons.push(format!("{}: {error}", own.display()));
                None
            }
        });
        let mut one = Vec::new();
        let mut missing = Vec::new();
        for controller in Controller::ALL {
            if two.as_ref().is_some_and(|(_, controllers)| controllers.contains(&controller)) {
                continue;
            }
            let Some(own) = layout.one(controller) else {
                let mut reason =
                    format!("no tree here has the `{}` controller", controller.as_str());
                if let Some(more) = reasons.first() {
                    reason = format!("{reason} ({more})");
                }
                missing.push((controller, reason));
                continue;
            };
            match open_one(own, name) {
                Ok(directory) => one.push((controller, directory)),
                Err(error) => missing.push((controller, format!("{}: {error}", own.display()))),
            }
        }
        let flavour = match (&two, one.is_empty()) {
            (Some(_), false) => CgroupFlavour::Hybrid,
            (Some(_), true) => CgroupFlavour::V2,
            (None, false) => CgroupFlavour::V1,
            (None, true) => CgroupFlavour::None,
        };
        Self { flavour, one, two, missing }
    }

    fn version(&self, controller: Controller) -> Option<Version> {
        if self.one.iter().any(|(of, _)| *of == controller) {
            return Some(Version::One);
        }
        let (_, controllers) = self.two.as_ref()?;
        controllers.contains(&controller).then_some(Version::Two)
    }

    /// Whether a limit can be set; whether it holds is for a probe to say.
    pub fn has(&self, controller: Controller) -> bool {
        self.version(controller).is_some()
    }

    /// Makes the groups of a sandbox and sets its limits.
    pub fn create(&self, name: &str, limits: &Resources, cpu: CpuLimit) -> io::Result<Group> {
        let mut group = Group { cpu_limit: cpu, ..Group::default() };
        let made = self.fill(&mut group, name, limits);
        if made.is_err() {
            // The first error is the one to tell; an empty group left over is removed with the engine's.
            group.try_remove().ok();
        }
        made.map(|()| group)
    }

    fn fill(&self, group: &mut Group, name: &str, limits: &Resources) -> io::Result<()> {
        for (controller, parent) in &self.one {
            let directory = parent.join(name);
            if !group.directories.contains(&directory) {
                make(&directory)?;
                group.directories.push(directory.clone());
                group.task_files.push(directory.join("tasks"));
            }
            group.limit(*controller, Version::One, directory, limits)?;
        }
        if let Some((parent, controllers)) = &self.two {
            let directory = parent.join(name);
            make(&directory)?;
            group.directories.push(directory.clone());
            for controller in controllers {
                group.limit(*controller, Version::Two, directory.clone(), limits)?;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            group.into = Some(rustix::fs::open(&directory, flags, Mode::empty())?);
            group.two = Some(directory);
        }
        Ok(())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let two = self.two.iter().map(|(directory, _)| directory);
        for directory in self.one.iter().map(|(_, directory)| directory).chain(two) {
            // Not empty while a sandbox still ends: the next engine removes it then.
            fs::remove_dir(directory).ok();
        }
    }
}

/// When the limit on processor time begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CpuLimit {
    /// With the group.
    #[default]
    AtOnce,
    /// With [`Group::limit_cpu_shortly`], so that a probe of it need not wait for the end of a long period.
    Later,
}

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub struct Group {
    directories: Vec<PathBuf>,
    /// Where pid 1 enters by itself (version 1).
    pub task_files: Vec<PathBuf>,
    /// What pid 1 is forked into (version 2).
    pub into: Option<OwnedFd>,
    two: Option<PathBuf>,
    memory: Option<(Version, PathBuf)>,
    pids: Option<PathBuf>,
    cpu: Option<(Version, PathBuf)>,
    cpu_limit: CpuLimit,
}

impl Group {
    fn limit(
        &mut self,
        controller: Controller,
        version: Version,
        directory: PathBuf,
        limits: &Resources,
    ) -> io::Result<()> {
        match controller {
            Controller::Memory => {
                limit_memory(version, &directory, limits.memory_bytes)?;
                self.memory = Some((version, directory));
            }
            Controller::Pids => {
                // Pid 1 is ours and does not count.
                set(&directory, "pids.max", &(u64::from(limits.pids) + 1).to_string())?;
                self.pids = Some(directory);
            }
            Controller::Cpu => {
                if self.cpu_limit == CpuLimit::AtOnce {
                    limit_cpu(version, &directory, limits.cpu_millis, PERIOD)?;
                }
                self.cpu = Some((version, directory));
            }
        }
        Ok(())
    }

    /// Files through which a process enters by writing `0`, for one that is not forked into the group.
    pub fn entry_files(&self) -> Vec<PathBuf> {
        let two = self.two.iter().map(|directory| directory.join("cgroup.procs"));
        self.task_files.iter().cloned().chain(two).collect()
    }

    /// What has been used, as far as it is counted.
    pub fn usage(&self) -> Usage {
        let (peak, kills) = match &self.memory {
            Some((Version::One, directory)) => (
                number(directory, "memory.max_usage_in_bytes"),
                keyed(directory, "memory.oom_control", "oom_kill"),
            ),
            Some((Version::Two, directory)) => {
                (number(directory, "memory.peak"), keyed(directory, "memory.events", "oom_kill"))
            }
            None => (None, None),
        };
        let microseconds =
            self.two.as_deref().and_then(|directory| keyed(directory, "cpu.stat", "usage_usec"));
        Usage {
            peak_memory_bytes: peak,
            oom_kills: kills,
            pids_limit_hits: self
                .pids
                .as_deref()
                .and_then(|directory| keyed(directory, "pids.events", "max")),
            cpu: microseconds.map(Duration::from_micros),
            disk_bytes: None,
            disk_inodes: None,
        }
    }

    /// Limits processor time in short periods, so that it soon shows whether the limit is held. The kernel ends a period
    /// that has begun before it looks at a new length, so there must not have been a limit.
    pub fn limit_cpu_shortly(&self, cpu_millis: u32) -> io::Result<()> {
        let Some((version, directory)) = &self.cpu else { return Ok(()) };
        limit_cpu(*version, directory, cpu_millis, SHORT_PERIOD)
    }

    /// Takes the limit on processor time away.
    pub fn free_cpu(&self) -> io::Result<()> {
        match &self.cpu {
            Some((Version::One, directory)) => set(directory, "cpu.cfs_quota_us", "-1"),
            Some((Version::Two, directory)) => set(directory, "cpu.max", "max"),
            None => Ok(()),
        }
    }

    /// How often the processor was taken away for the limit.
    pub fn throttled(&self) -> Option<u64> {
        let (_, directory) = self.cpu.as_ref()?;
        keyed(directory, "cpu.stat", "nr_throttled")
    }

    /// Kills everything in it at once, where the kernel can.
    pub fn kill(&self) {
        if let Some(directory) = &self.two {
            // Older kernels have no such file; the death of pid 1 does the same.
            fs::write(directory.join("cgroup.kill"), "1").ok();
        }
    }

    /// Removes what is empty; what is still busy stays and gives an error.
    pub fn try_remove(&mut self) -> io::Result<()> {
        self.into = None;
        let mut first = Ok(());
        self.directories.retain(|directory| match fs::remove_dir(directory) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                if first.is_ok() {
                    first = Err(error);
                }
                true
            }
        });
        first
    }
}

fn limit_cpu(
    version: Version,
    directory: &Path,
    cpu_millis: u32,
    period: Duration,
) -> io::Result<()> {
    let quota = (period * cpu_millis / 1000).as_micros().to_string();
    let period = period.as_micros().to_string();
    match version {
        Version::One => {
            set(directory, "cpu.cfs_period_us", &period)?;
            set(directory, "cpu.cfs_quota_us", &quota)
        }
        Version::Two => set(directory, "cpu.max", &format!("{quota} {period}")),
    }
}

fn limit_memory(version: Version, directory: &Path, bytes: u64) -> io::Result<()> {
    let bytes = bytes.to_string();
    let (limit, swap, swap_value) = match version {
        // Memory and swap together.
        Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes.as_str()),
        Version::Two => ("memory.max", "memory.swap.max", "0"),
    };
    set(directory, limit, &bytes)?;
    match set(directory, swap, swap_value) {
        // A kernel that does not account for swap.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(()),
        other => other,
    }
}

/// The groups that may limit the memory of this process: its own and those above it, as far as they are visible.
pub fn own_memory_groups() -> impl Iterator<Item = PathBuf> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let layout = Layout::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    let own = [layout.one(Controller::Memory).map(Path::to_path_buf), layout.two];
    own.into_iter().flatten().flat_map(crate::memory::upwards)
}

fn make(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory).map_err(|error| explain(directory, &error))
}

fn set(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    // Not created if missing, as `fs::write` would try.
    let opened = fs::File::options().write(true).open(&path);
    let written = opened.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| explain(&path, &error))
}

fn explain(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

fn keyed(directory: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}

fn open_one(own: &Path, name: &str) -> io::Result<PathBuf> {
    let directory = own.join(name);
    fs::create_dir(&directory)?;
    Ok(directory)
}

fn open_two(own: &Path, name: &str) -> io::Result<(PathBuf, Vec<Controller>)> {
    let available = fs::read_to_string(own.join("cgroup.controllers"))?;
    let wanted: Vec<_> = Controller::ALL
        .into_iter()
        .filter(|controller| available.split_whitespace().any(|one| one == controller.as_str()))
        .collect();
    let directory = open_one(own, name)?;
    hand_on(own, &wanted, name)?;
    hand_on(&directory, &wanted, name)?;
    Ok((directory, wanted))
}

/// Lets children of a group have controllers. A group with processes of its own may not, so if those are only this
/// process, it moves to a leaf beside the sandboxes.
fn hand_on(directory: &Path, controllers: &[Controller], name: &str) -> io::Result<()> {
    for controller in controllers {
        let value = format!("+{}", controller.as_str());
        let set_it = || set(directory, "cgroup.subtree_control", &value);
        let Err(error) = set_it() else { continue };
        if error.kind() != io::ErrorKind::ResourceBusy {
            return Err(error);
        }
        let own = std::process::id().to_string();
        let processes = fs::read_to_string(directory.join("cgroup.procs"))?;
        if processes.split_whitespace().any(|process| process != own) {
            let reason =
                "other processes are in the same group, so it cannot have limited subgroups";
            return Err(io::Error::new(error.kind(), reason));
        }
        let leaf = directory.join(format!("{name}-host"));
        fs::create_dir_all(&leaf)?;
        set(&leaf, "cgroup.procs", &own)?;
        set_it()?;
    }
    Ok(())
}

/// Removes groups of engines that no longer run. Whatever has processes in it refuses to be removed.
fn sweep(own: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(own) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(pid) =
            file_name.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('-'))
        else {
            continue;
        };
        let Some(Ok(pid)) = pid.split('-').next().map(str::parse::<u32>) else { continue };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        for sandbox in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if sandbox.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir(sandbox.path()).ok();
            }
        }
        fs::remove_dir(entry.path()).ok();
    }
}
