//! What is written down of a sandbox while it lives, so that a later start can sweep what a killed process left behind.

use crate::{LayerId, RunId, SandboxId, StepId, TenantId, Timestamp};

/// A sandbox that exists, or existed when its process was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The run it works for, if any.
    pub run: Option<RunId>,
    /// The step it works for; none for one that somebody entered to debug.
    pub step: Option<StepId>,
    /// The process that owns it.
    pub holder: Holder,
    /// The name of its folder below the scratch folder.
    pub scratch: String,
    /// The layers it is stacked on, the lowest first; they are kept while it lives.
    pub layers: Vec<LayerId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A process, named so that neither a reused process id nor a reboot can be mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// The id of this boot of the machine.
    pub boot_id: String,
    /// When the process started, in clock ticks since boot, as `/proc/<pid>/stat` says.
    pub start_ticks: u64,
}
