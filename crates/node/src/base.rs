//! The host base: the machine's own tools, without the machine's own root.
//!
//! A *skeleton* directory of ours is the lowest layer of a sandbox: a curated `/etc`, empty mount points, the home of the
//! gate with registry settings. `/usr`, `/opt` and the toolchains below a home that the search path leads to are bound
//! over it, read-only. Nothing else of a home is visible, and no credential.

mod certificates;
mod etc;
mod fingerprint;
mod links;
mod mirror;
mod registries;
mod sanitize;
mod skeleton;
mod toolchains;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use skeleton::sweep_skeletons;

use crate::Error;
use crate::layers::Owner;

/// The home of the user that gates run as.
pub const GATE_HOME: &str = "/home/gate";
/// Where the source lies in a sandbox.
pub const WORKSPACE: &str = "/workspace";

/// What the caller knows of the user whose tools are to be shown.
#[derive(Debug, Clone, Default)]
pub struct HostEnvironment {
    /// The home of the user.
    pub home: Option<PathBuf>,
    /// The folders of the search path, in order.
    pub path: Vec<PathBuf>,
    /// All environment variables of the user. Only names that are known to be harmless are looked at.
    pub variables: Vec<(String, String)>,
}

impl HostEnvironment {
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// A folder or file below a home, or a setting, that sandboxes can see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exposed {
    /// What it is, such as `rustup` or `npm settings`.
    pub what: String,
    /// Where it lies on the host.
    pub path: PathBuf,
}

/// Something that sandboxes do not get to see although the search path or a setting leads to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refused {
    /// What it is.
    pub what: String,
    /// Where it lies on the host.
    pub path: PathBuf,
    /// Why it is left out. Never holds the value itself.
    pub reason: String,
}

/// A host folder or file and the place of a sandbox where it is bound, read-only and with all that is mounted below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the sandbox. The skeleton, or an earlier bind, has a mount point there.
    pub target: PathBuf,
}

/// The host as a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBase {
    /// Equal for machines that can share layers: architecture, system, packages, toolchains.
    pub fingerprint: String,
    /// The lowest layer.
    pub skeleton: PathBuf,
    /// What to bind over it, in order.
    pub binds: Vec<Bind>,
    /// The environment that these tools need.
    pub env: Vec<(String, String)>,
    /// What is visible of homes.
    pub exposed: Vec<Exposed>,
    /// What is not, and why.
    pub refused: Vec<Refused>,
}

impl HostBase {
    /// Looks at the host, and makes the skeleton in a folder of `skeletons` unless it is there already.
    ///
    /// `owner` are the ids on disk of what belongs to the gate; everything else keeps the ids of the caller.
    pub fn discover(
        environment: &HostEnvironment,
        skeletons: &Path,
        owner: Owner,
    ) -> Result<Self, Error> {
        let tools = toolchains::find(environment);
        let mut settings = registries::read(environment, &tools);
        certificates::add(environment, &tools, &mut settings);
        let plan = skeleton::Plan::new(environment, tools, settings, owner)?;
        plan.publish(skeletons)
    }
}
