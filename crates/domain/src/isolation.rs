//! How well a sandbox is separated from the machine, as every run reports it.

use serde::{Deserialize, Serialize};

use crate::name::named_enum;

/// The level of separation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationLevel {
    /// All seven namespaces hold: user, mount, pid, network, ipc, uts, cgroup.
    #[default]
    Namespaces,
    /// Plain processes of the calling user. For `run` and trusted authors only.
    Process,
}

named_enum!(IsolationLevel, "isolation level", Namespaces => "namespaces", Process => "process");

/// The `isolation` object of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationSummary {
    /// Whether all seven namespaces hold.
    pub namespaces: bool,
    /// The names of the limits that are held, such as `memory`.
    pub limits: Vec<String>,
    /// Whether the network policy of a gate is enforced.
    pub network: bool,
    /// `namespaces` if and only if all seven hold.
    pub level: IsolationLevel,
}
