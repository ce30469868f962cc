//! What an engine found out about its machine.

use sandgate_domain::{IsolationLevel, IsolationSummary};

/// The names of the namespaces, in the order they are tried.
pub(crate) const NAMESPACES: [&str; 7] =
    ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];

/// How sandboxes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By root: a range of ids, layers carry portable owners.
    Root,
    /// By an ordinary user: one id, layers belong to the caller.
    User,
}

/// Which control groups the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupFlavour {
    /// One hierarchy.
    V2,
    /// One hierarchy a controller.
    V1,
    /// Controllers of version 1 beside a tree of version 2.
    Hybrid,
    /// None that may be used.
    None,
}

/// One namespace or limit: held, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Such as `pid` or `memory`.
    pub name: &'static str,
    /// Whether a probe saw it work.
    pub held: bool,
    /// How it is held, or the probe's reason why it is not.
    pub reason: String,
    /// What to do to get it; empty if held.
    pub instead: String,
}

impl Finding {
    pub(crate) fn held(name: &'static str, how: impl Into<String>) -> Self {
        Self { name, held: true, reason: how.into(), instead: String::new() }
    }

    pub(crate) fn missing(
        name: &'static str,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { name, held: false, reason: reason.into(), instead: instead.into() }
    }
}

/// The isolation that sandboxes of an engine have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The level that sandboxes have here: the process level only if it was consented to, and nothing better can be had.
    pub level: IsolationLevel,
    /// How they are made.
    pub mode: Mode,
    /// What limits them.
    pub cgroups: CgroupFlavour,
    /// user, mount, pid, network, ipc, uts, cgroup.
    pub namespaces: Vec<Finding>,
    /// memory, pids, cpu, disk_bytes, disk_inodes, output.
    pub limits: Vec<Finding>,
    /// Whether a sandbox without network really has none.
    pub network: Finding,
    /// Why no sandbox can be made, although each namespace alone can.
    pub obstacle: Option<Finding>,
    /// Whether plain processes can be run, if that was consented to and is needed.
    pub plain: Option<Finding>,
}

impl Report {
    /// Whether sandboxes can be made, at [`Report::level`].
    pub fn usable(&self) -> bool {
        match self.level {
            IsolationLevel::Namespaces => self.isolates(),
            IsolationLevel::Process => true,
        }
    }

    /// Whether all seven namespaces hold.
    pub fn isolates(&self) -> bool {
        self.obstacle.is_none() && self.namespaces.iter().all(|finding| finding.held)
    }

    /// The part that every run shows.
    pub fn summary(&self) -> IsolationSummary {
        let namespaces = self.isolates();
        IsolationSummary {
            namespaces,
            limits: self.held_limits(),
            network: self.network.held,
            level: if namespaces { IsolationLevel::Namespaces } else { IsolationLevel::Process },
        }
    }

    /// The names that users know: what one setting decides is held when all of its parts are.
    fn held_limits(&self) -> Vec<String> {
        let setting = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
        let mut held: Vec<String> = Vec::new();
        for limit in &self.limits {
            let name = setting(limit.name);
            let parts = self.limits.iter().filter(|other| setting(other.name) == name);
            if !held.contains(&name) && parts.into_iter().all(|part| part.held) {
                held.push(name);
            }
        }
        held
    }

    /// The first thing that prevents sandboxes.
    pub(crate) fn first_obstacle(&self) -> Option<&Finding> {
        if self.usable() {
            return None;
        }
        self.namespaces.iter().find(|finding| !finding.held).or(self.obstacle.as_ref())
    }
}
