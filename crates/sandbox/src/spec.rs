//! The values a caller describes sandboxes and commands with.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use sandgate_domain::Resources;

use crate::Error;
use crate::plain::PlainFolder;

/// The user and group that commands run as, seen from inside.
pub const GATE_ID: u32 = 1000;
/// The port on the sandbox's own loopback where the host serves its proxy.
pub const PROXY_PORT: u16 = 3128;

/// Overlay refuses more (`OVL_MAX_STACK`); one is ours.
const MAX_LOWER: usize = 499;
const MAX_BINDS: usize = 256;
const MAX_ARGUMENT_BYTES: usize = 2 << 20;

/// What an engine needs to know of its surroundings.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The program that calls [`crate::enter_if_init`] first; as a rule the running one.
    pub init_program: PathBuf,
    /// First part of the names of our cgroups.
    pub cgroup_name: String,
    /// A small existing directory of ours, for probes and as a place to mount on (only inside sandboxes).
    pub state_dir: PathBuf,
    /// The consent to plain processes where namespaces can't be had, and where these have their files; none: refused.
    pub plain: Option<PlainFolder>,
}

impl EngineConfig {
    /// The running program as init, cgroups named `sandgate`, no plain processes.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            init_program: PathBuf::from("/proc/self/exe"),
            cgroup_name: "sandgate".to_owned(),
            state_dir: state_dir.into(),
            plain: None,
        }
    }
}

/// A host directory or file shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host; mounts below it come along.
    pub source: PathBuf,
    /// The absolute path inside. It is made where it is missing.
    pub target: PathBuf,
    /// Whether commands may write to it. Never set-user-id, never device nodes.
    pub writable: bool,
}

impl Bind {
    /// A read-only bind.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: false }
    }
}

/// What the network namespace of a sandbox contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback and nothing else.
    None,
    /// The same, and a listener on 127.0.0.1:[`PROXY_PORT`] that the host accepts from.
    Proxied,
}

/// A sandbox to be made.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Names its cgroup and its host name: letters, digits, `-`, `_` and `.`, at most 64 bytes, unique while it lives.
    pub name: String,
    /// Read-only layers, bottom first.
    pub lower: Vec<PathBuf>,
    /// The empty or earlier writable layer; it stays when the sandbox is gone. It is not synced: who keeps it calls `syncfs`.
    pub upper: PathBuf,
    /// Overlay's scratch directory: empty, beside `upper` in the same directory.
    pub work: PathBuf,
    /// What of the host is shown, in this order. At the process level it is where it is, and can't be elsewhere.
    pub binds: Vec<Bind>,
    /// The network.
    pub network: Network,
    /// The limits. Which of them are held says [`crate::Report`].
    pub limits: Resources,
}

impl Spec {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        name_is_plain("name", self.name.as_bytes())?;
        if self.lower.len() > MAX_LOWER {
            let reason = format!("{} layers, at most {MAX_LOWER}", self.lower.len());
            return Err(Error::invalid("lower", reason));
        }
        if self.binds.len() > MAX_BINDS {
            let reason = format!("{} binds, at most {MAX_BINDS}", self.binds.len());
            return Err(Error::invalid("binds", reason));
        }
        if self.upper.parent() != self.work.parent() || self.upper == self.work {
            let reason = "must be two directories beside each other";
            return Err(Error::invalid("upper and work", reason));
        }
        for (what, path) in [("upper", &self.upper), ("work", &self.work)] {
            name_is_plain(what, path.file_name().unwrap_or_default().as_bytes())?;
        }
        let sources = self.binds.iter().map(|bind| &bind.source);
        for path in self.lower.iter().chain([&self.upper]).chain(sources) {
            if !path.is_absolute() {
                let reason = format!("`{}` is not an absolute path", path.display());
                return Err(Error::invalid("spec", reason));
            }
        }
        for bind in &self.binds {
            target_is_plain(&bind.target)?;
        }
        limits_are_sane(&self.limits)
    }
}

fn name_is_plain(what: &str, name: &[u8]) -> Result<(), Error> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if name.is_empty() || name.len() > 64 || name[0] == b'.' || !name.iter().all(plain) {
        let shown = String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned();
        let reason = format!(
            "`{shown}` must be 1 to 64 letters, digits, `-`, `_` or `.` and not begin with a dot"
        );
        return Err(Error::invalid(what, reason));
    }
    Ok(())
}

fn target_is_plain(target: &Path) -> Result<(), Error> {
    let mut components = target.components();
    let rooted = components.next() == Some(Component::RootDir);
    let below = components.clone().count() > 0;
    let plain = components.all(|component| matches!(component, Component::Normal(_)));
    if rooted && below && plain && target.as_os_str().len() < 4000 {
        return Ok(());
    }
    let reason = format!("`{}` must be absolute, below `/` and without `..`", target.display());
    Err(Error::invalid("bind target", reason))
}

fn limits_are_sane(limits: &Resources) -> Result<(), Error> {
    // The kernel refuses quotas below a thousandth of a processor; init itself needs a little of the rest.
    if limits.cpu_millis < 10
        || limits.memory_bytes < 4 << 20
        || limits.pids < 2
        || limits.disk_bytes < 4096
        || limits.disk_inodes < 16
    {
        let reason = "at least 10 thousandths of a cpu, 4 MiB of memory, 2 pids, 4 KiB and 16 inodes of disk";
        return Err(Error::invalid("limits", reason));
    }
    Ok(())
}

/// Where a command's standard input comes from.
#[derive(Debug)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe: [`crate::Process::take_stdin`].
    Piped,
    /// A descriptor of the caller's.
    Inherit(OwnedFd),
}

/// Where a command's output goes.
#[derive(Debug)]
pub enum Output {
    /// Two pipes: [`crate::Process::take_stdout`], [`crate::Process::take_stderr`].
    Piped,
    /// A terminal of the sandbox's own; also the standard input. [`crate::Process::take_terminal`].
    Pty {
        /// Lines.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Descriptors of the caller's.
    Fds {
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

/// A program to be run inside. Nothing of the caller's environment is passed on.
#[derive(Debug)]
pub struct Command {
    /// Program and arguments. A program without `/` is looked up in `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// Standard input; must be `Null` with a terminal.
    pub stdin: Stdin,
    /// Standard output and error.
    pub output: Output,
}

impl Command {
    /// A command with an empty environment, in `/`, without input, its output in pipes.
    pub fn new<T: Into<OsString>>(argv: impl IntoIterator<Item = T>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdin: Stdin::Null,
            output: Output::Piped,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(Error::invalid("argv", "names no program"));
        }
        let texts = self.argv.iter().chain(self.env.iter().flat_map(|(name, value)| [name, value]));
        let mut bytes = 0;
        for text in texts.chain([&self.cwd.clone().into_os_string()]) {
            bytes += text.len() + 1;
            if text.as_bytes().contains(&0) {
                return Err(Error::invalid("command", "contains a zero byte"));
            }
        }
        if bytes > MAX_ARGUMENT_BYTES {
            let reason = format!("{bytes} bytes of arguments, at most {MAX_ARGUMENT_BYTES}");
            return Err(Error::invalid("command", reason));
        }
        if let Some((name, _)) =
            self.env.iter().find(|(name, _)| name.is_empty() || name.as_bytes().contains(&b'='))
        {
            return Err(Error::invalid("env", format!("`{}` is not a name", name.display())));
        }
        if !self.cwd.is_absolute() {
            return Err(Error::invalid("cwd", "is not an absolute path"));
        }
        if matches!(self.output, Output::Pty { .. }) && !matches!(self.stdin, Stdin::Null) {
            return Err(Error::invalid("stdin", "a terminal is its own input"));
        }
        Ok(())
    }
}

/// A limit that a sandbox can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Memory, page cache and tmpfs included: something was killed for it.
    Memory,
    /// Processes and threads: a fork was refused.
    Pids,
    /// Bytes in the writable layer: everything was killed.
    DiskBytes,
    /// Files and directories in the writable layer: everything was killed.
    DiskInodes,
}

impl Limit {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::DiskBytes => "disk_bytes",
            Self::DiskInodes => "disk_inodes",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a sandbox has used since it was made; `None` where nothing on this machine counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most memory at one time, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Processes killed because memory was used up.
    pub oom_kills: Option<u64>,
    /// Forks refused by the limit of processes.
    pub pids_limit_hits: Option<u64>,
    /// Processor time.
    pub cpu: Option<Duration>,
    /// Bytes in the writable layer when last measured.
    pub disk_bytes: Option<u64>,
    /// Files and directories in the writable layer when last measured.
    pub disk_inodes: Option<u64>,
}
