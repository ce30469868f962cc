//! Finding out what this machine can do, by doing it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{IsolationLevel, Resources};

use super::spawn::Inner;
use super::{Engine, LAYER_OWNER, Shared};
use crate::Error;
use crate::cgroup::{Cgroups, Controller, Group};
use crate::plain::Place;
use crate::process::ExitStatus;
use crate::report::{Finding, Mode, NAMESPACES, Report};
use crate::sandbox::Sandbox;
use crate::spec::{EngineConfig, Network, Spec};
use crate::watch::{Quota, measure};
use crate::wire::{Event, IdMap, Probe, Request};

const MEMORY: u64 = 24 << 20;
const PIDS: u32 = 12;
/// The same where other processes of the user count, too, and come and go meanwhile.
const PIDS_AMONG_OTHERS: u32 = 80;
/// How often, and after what pause, a process is asked for that was refused.
const ROOM_TRIES: u32 = 50;
const ROOM_PAUSE: Duration = Duration::from_millis(20);
const FILE: u64 = 1 << 20;
/// Less than the spin uses.
const CPU_MILLIS: u32 = 250;
const SPIN_MILLISECONDS: u32 = 30;
const SPINS: u32 = 10;

pub async fn probe(config: EngineConfig) -> Result<Engine, Error> {
    let cgroups = Cgroups::open(&config.cgroup_name);
    let user = rustix::process::geteuid().as_raw();
    let single = IdMap::Single { user, group: rustix::process::getegid().as_raw() };
    let mut prepared = prepare(&config, if user == 0 { IdMap::Range } else { single }).await?;
    if user == 0 && !prepared.complete() {
        // Root inside a container may not have the range, but perhaps the one id.
        let second = prepare(&config, single).await?;
        if second.complete() {
            prepared = second;
        }
    }
    let mut report = Report {
        level: IsolationLevel::Namespaces,
        mode: if prepared.id_map == IdMap::Range { Mode::Root } else { Mode::User },
        cgroups: cgroups.flavour,
        namespaces: prepared.findings(),
        limits: nothing_limited("no sandbox can be made"),
        network: Finding::missing("network", "no sandbox can be made", "see the namespaces"),
        obstacle: None,
        plain: None,
    };
    let mut shared = Shared::new(config, prepared.id_map, cgroups);
    let mut fds = prepared.fds.into_iter();
    (shared.program, shared.id_map_fd) = (fds.next(), fds.next());
    let shared = Arc::new(shared);
    if report.isolates() {
        try_all(&shared, &mut report, IsolationLevel::Namespaces).await?;
    }
    if !report.isolates() && shared.config.plain.is_some() {
        try_all(&shared, &mut report, IsolationLevel::Process).await?;
    }
    Ok(Engine { shared, report: Arc::new(report) })
}

/// The answer to the first question.
struct Prepared {
    id_map: IdMap,
    outcomes: Vec<u32>,
    /// Why not even that could be answered.
    failure: Option<(String, i32)>,
    fds: Vec<OwnedFd>,
}

async fn prepare(config: &EngineConfig, id_map: IdMap) -> Result<Prepared, Error> {
    let program = config.init_program.clone();
    let request = Request::Prepare { id_map, program };
    let mut inner = Inner::start(&config.init_program, &request, &[])?;
    let heard = inner.listen().await;
    inner.end("probe", Group::default()).await;
    let mut prepared = Prepared { id_map, outcomes: Vec::new(), failure: None, fds: Vec::new() };
    match heard? {
        (Event::Prepared { namespaces }, fds) => {
            (prepared.outcomes, prepared.fds) = (namespaces, fds);
        }
        (Event::Failed { step, errno }, _) => prepared.failure = Some((step, errno)),
        _ => {
            let source = io::Error::from_raw_os_error(libc::EBADMSG);
            return Err(Error::Setup { step: "understand the probe".to_owned(), source });
        }
    }
    Ok(prepared)
}

impl Prepared {
    fn complete(&self) -> bool {
        self.outcomes.len() == NAMESPACES.len() && self.outcomes.iter().all(|&errno| errno == 0)
    }

    fn findings(&self) -> Vec<Finding> {
        let each = NAMESPACES.iter().enumerate().map(|(index, name)| {
            match (self.outcomes.get(index), &self.failure) {
                (Some(0), _) => Finding::held(name, "made one"),
                (Some(&errno), _) => missing_namespace(name, "unshare", errno as i32),
                (None, Some((step, errno))) => missing_namespace(name, step, *errno),
                (None, None) => missing_namespace(name, "user namespace", libc::EPERM),
            }
        });
        each.collect()
    }
}

fn missing_namespace(name: &'static str, step: &str, errno: i32) -> Finding {
    let reason = format!("{step}: {}", io::Error::from_raw_os_error(errno));
    Finding::missing(name, reason, remedy(errno))
}

/// What switches namespaces off on this machine, from the switches that exist.
fn remedy(errno: i32) -> String {
    let is =
        |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "raise it: sysctl -w user.max_user_namespaces=10000".to_owned();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "allow it: sysctl -w kernel.unprivileged_userns_clone=1, or run as root".to_owned();
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "allow it: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the \
                program an AppArmor profile with `userns`, or run as root"
            .to_owned();
    }
    match errno {
        libc::ENOSPC => "the number of namespaces is used up: raise user.max_*_namespaces",
        libc::EINVAL | libc::ENOSYS => "use a kernel built with all namespaces",
        _ => {
            "in a container, allow it (docker: --security-opt seccomp=unconfined --cap-add \
              SYS_ADMIN); else run as root"
        }
    }
    .to_owned()
}

const LIMITS: [&str; 6] = ["memory", "pids", "cpu", "disk_bytes", "disk_inodes", "output"];

fn nothing_limited(reason: &str) -> Vec<Finding> {
    LIMITS.map(|name| Finding::missing(name, reason, "see the namespaces")).to_vec()
}

/// A directory that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &Path) -> io::Result<Self> {
        for number in 0..1000 {
            let path = parent.join(format!("probe-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is a few empty directories of ours.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Makes one sandbox with small limits and breaks each of them.
async fn try_all(
    shared: &Arc<Shared>,
    report: &mut Report,
    level: IsolationLevel,
) -> Result<(), Error> {
    let state = &shared.config.state_dir;
    let fail = || Error::host(format!("could not use the state directory {}", state.display()));
    let state = fs::canonicalize(state).map_err(fail())?;
    let folder = Folder::make(&state).map_err(fail())?;
    for name in ["lower", "upper", "work"] {
        let path = folder.0.join(name);
        fs::create_dir(&path).map_err(fail())?;
        if report.mode == Mode::Root && level == IsolationLevel::Namespaces {
            let (user, group) = LAYER_OWNER;
            std::os::unix::fs::chown(&path, Some(user), Some(group)).map_err(fail())?;
        }
    }
    let limits = Resources {
        cpu_millis: CPU_MILLIS,
        memory_bytes: MEMORY,
        disk_bytes: FILE,
        disk_inodes: 1000,
        pids: probed_pids(shared, level),
    };
    let spec = Spec {
        name: "probe".to_owned(),
        lower: vec![folder.0.join("lower")],
        upper: folder.0.join("upper"),
        work: folder.0.join("work"),
        binds: Vec::new(),
        network: match level {
            IsolationLevel::Namespaces => Network::Proxied,
            IsolationLevel::Process => Network::None,
        },
        limits,
    };
    let upper = spec.upper.clone();
    let Some(mut sandbox) = try_one(shared, report, level, spec).await else { return Ok(()) };
    report.network = match (level, sandbox.take_proxy_listener()) {
        (IsolationLevel::Process, _) => {
            let reason = "plain processes use the network of the machine";
            Finding::missing("network", reason, "get namespaces")
        }
        (IsolationLevel::Namespaces, Some(_)) => {
            Finding::held("network", "own namespace; the proxy listens inside")
        }
        (IsolationLevel::Namespaces, None) => {
            Finding::missing("network", "the listener did not arrive", "report this")
        }
    };
    let (disk_bytes, disk_inodes) = disk(&sandbox, &upper).await?;
    let pids = pids(shared, &sandbox, level).await?;
    let cpu = cpu(shared, &sandbox).await?;
    // Last, as it may take pid 1 with it.
    let memory = memory(shared, &sandbox).await?;
    sandbox.destroy().await?;
    let output =
        Finding::held("output", "pipes without a buffer of ours; the reader sets the pace");
    report.limits = vec![memory, pids, cpu, disk_bytes, disk_inodes, output];
    Ok(())
}

/// Makes the sandbox of the probe, and notes the level, or why it can't be had.
async fn try_one(
    shared: &Arc<Shared>,
    report: &mut Report,
    level: IsolationLevel,
    spec: Spec,
) -> Option<Sandbox> {
    let made = match level {
        IsolationLevel::Namespaces => shared.create(spec, true).await,
        IsolationLevel::Process => {
            // Not where the sandboxes of callers lie, of which there may be one now.
            let place = Place { root: spec.upper.clone(), upper: spec.upper.clone() };
            shared.start_plain(spec, place, None, true).await
        }
    };
    match (level, made) {
        (IsolationLevel::Namespaces, Ok(sandbox)) => Some(sandbox),
        (IsolationLevel::Process, Ok(sandbox)) => {
            report.level = level;
            let how = "processes of this user, in a copy of their files; nothing hides the machine";
            report.plain = Some(Finding::held("process", how));
            Some(sandbox)
        }
        (IsolationLevel::Namespaces, Err(error)) => {
            report.obstacle = Some(obstacle(&error));
            None
        }
        (IsolationLevel::Process, Err(error)) => {
            let reason = with_cause(&error);
            report.plain = Some(Finding::missing("process", reason, "report this"));
            None
        }
    }
}

fn with_cause(error: &Error) -> String {
    let cause = std::error::Error::source(error);
    format!("{error}{}", cause.map(|cause| format!(": {cause}")).unwrap_or_default())
}

fn obstacle(error: &Error) -> Finding {
    if let Error::Unsupported { what, reason, instead } = error {
        return Finding::missing("sandbox", format!("{what}: {reason}"), instead.clone());
    }
    let instead = "the state directory must be on a file system that overlay can write to (ext4, xfs, \
                   btrfs, tmpfs; not overlay itself), on a kernel of 5.19 or later";
    Finding::missing("sandbox", with_cause(error), instead)
}

async fn disk(sandbox: &Sandbox, upper: &Path) -> Result<(Finding, Finding), Error> {
    let refused = try_probe(sandbox, Probe::FileSize(FILE)).await?;
    let quota = Quota { bytes: u64::MAX, inodes: u64::MAX };
    let seen = measure(upper, quota);
    let how = "the writable layer is measured while it grows; breaking it kills";
    let instead = "report this with the kernel version";
    let by_size = refused == ExitStatus::Signaled(libc::SIGXFSZ);
    let found = |name| match &seen {
        Ok(seen) if seen.inodes > 0 && by_size => Finding::held(name, how),
        Ok(seen) => {
            let reason = format!("a file over the limit gave {refused:?}, {} seen", seen.inodes);
            Finding::missing(name, reason, instead)
        }
        Err(error) => Finding::missing(name, error.to_string(), instead),
    };
    Ok((found("disk_bytes"), found("disk_inodes")))
}

/// Runs a probe. Where other processes of the user count, they may leave no room for a moment.
async fn try_probe(sandbox: &Sandbox, probe: Probe) -> Result<ExitStatus, Error> {
    for _ in 0..ROOM_TRIES {
        match sandbox.run_probe(probe).await {
            Err(Error::Exec { source, .. }) if source.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
        tokio::time::sleep(ROOM_PAUSE).await;
    }
    sandbox.run_probe(probe).await
}

fn probed_pids(shared: &Shared, level: IsolationLevel) -> u32 {
    match (shared.cgroups.has(Controller::Pids), level) {
        (false, IsolationLevel::Process) => PIDS_AMONG_OTHERS,
        (true, _) | (false, IsolationLevel::Namespaces) => PIDS,
    }
}

async fn pids(shared: &Shared, sandbox: &Sandbox, level: IsolationLevel) -> Result<Finding, Error> {
    let limit = probed_pids(shared, level);
    let outcome = try_probe(sandbox, Probe::Forks(limit * 3)).await?;
    sandbox.kill_processes().await;
    let (how, most) = match (shared.cgroups.has(Controller::Pids), level) {
        (true, _) => ("cgroup", limit),
        (false, IsolationLevel::Namespaces) => {
            ("RLIMIT_NPROC, counted in the sandbox's own user namespace", limit)
        }
        // Others of this user come and go while it is tried.
        (false, IsolationLevel::Process) => {
            ("RLIMIT_NPROC, counted with the other processes of this user", limit * 2)
        }
    };
    match outcome {
        ExitStatus::Exited(count) if (1..=most as i32).contains(&count) => {
            Ok(Finding::held("pids", how))
        }
        other @ (ExitStatus::Exited(_) | ExitStatus::Signaled(_)) => {
            Ok(unlimited(shared, Controller::Pids, &format!("{how}: {other:?}")))
        }
    }
}

async fn cpu(shared: &Shared, sandbox: &Sandbox) -> Result<Finding, Error> {
    if !shared.cgroups.has(Controller::Cpu) {
        return Ok(unlimited(shared, Controller::Cpu, ""));
    }
    if let Err(error) = sandbox.limit_cpu_shortly(CPU_MILLIS) {
        return Ok(unlimited(shared, Controller::Cpu, &error.to_string()));
    }
    let is_throttled = || sandbox.throttled().is_some_and(|times| times > 0);
    // On a busy machine one spin may be spread so thin that it stays within the limit.
    for _ in 0..SPINS {
        tokio::select! {
            ended = try_probe(sandbox, Probe::Spin(SPIN_MILLISECONDS)) => {
                ended?;
            }
            () = until(is_throttled) => break,
        }
    }
    let held = is_throttled();
    let seen = format!("throttled: {:?}", sandbox.throttled());
    // The rest is not about the processor.
    let freed = sandbox.free_cpu();
    sandbox.kill_processes().await;
    Ok(match freed {
        Ok(()) if held => Finding::held("cpu", "cgroup"),
        Ok(()) => unlimited(shared, Controller::Cpu, &seen),
        Err(error) => unlimited(shared, Controller::Cpu, &error.to_string()),
    })
}

/// Waits for a counter of the kernel, which tells nobody when it moves.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn memory(shared: &Shared, sandbox: &Sandbox) -> Result<Finding, Error> {
    if !shared.cgroups.has(Controller::Memory) {
        return Ok(unlimited(shared, Controller::Memory, ""));
    }
    let outcome = try_probe(sandbox, Probe::Memory(MEMORY * 2)).await?;
    let kills = sandbox.usage().oom_kills;
    if outcome == ExitStatus::Signaled(libc::SIGKILL) && kills.is_some_and(|kills| kills > 0) {
        return Ok(Finding::held("memory", "cgroup"));
    }
    let seen = format!("twice the limit gave {outcome:?}, {kills:?} kills");
    Ok(unlimited(shared, Controller::Memory, &seen))
}

fn unlimited(shared: &Shared, controller: Controller, seen: &str) -> Finding {
    let missing = shared.cgroups.missing.iter().find(|(of, _)| *of == controller);
    let reason = missing.map_or_else(|| seen.to_owned(), |(_, reason)| reason.clone());
    let instead =
        "run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes …";
    Finding::missing(controller.as_str(), reason, instead)
}
