//! A run: the gates of one commit or working tree, from planned to verdict.

use serde::{Deserialize, Serialize};

use crate::{GateResult, IsolationSummary, RunId, SnapshotId, TenantId, Timestamp};

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The repository as people name it: a path, or `owner/name`.
    pub repository: String,
    /// The repository as it is looked up: the same for every spelling of the same repository.
    pub repository_key: String,
    /// The commit that is tested, in hex.
    pub head_sha: String,
    /// The commit that it would be merged into, in hex.
    pub base_sha: Option<String>,
    /// The branch, if there is one.
    pub branch: Option<String>,
    /// Whether the working tree differs from the commit.
    pub dirty: bool,
    /// The plan as JSON text, exactly as the run follows it.
    pub plan: String,
    /// How far its state machine is, as JSON text: what a process needs to go on with it.
    pub progress: String,
    /// The pull request that it belongs to, if any.
    pub pull_request: Option<String>,
    /// What asked for it: a second request with the same key finds this run.
    pub request_key: Option<String>,
    /// Which revision of a pull request it belongs to; a higher one supersedes it.
    pub generation: u32,
    /// How far it is.
    pub state: RunState,
    /// How well its sandboxes were separated; known once it runs.
    pub isolation: Option<IsolationSummary>,
    /// Keys of the configuration that this version knows but can't do yet.
    pub unsupported: Vec<UnsupportedKey>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// The snapshot that its success made.
    pub approved_snapshot: Option<SnapshotId>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Planned.
    Queued,
    /// At least one of its steps was started.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It has its verdict.
    Ended {
        /// The verdict.
        result: GateResult,
        /// When it started; none if it never did.
        started_at: Option<Timestamp>,
        /// When it ended.
        ended_at: Timestamp,
    },
}

impl RunState {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
        }
    }

    /// The verdict, once there is one.
    pub fn result(&self) -> Option<GateResult> {
        match self {
            Self::Queued | Self::Running { .. } => None,
            Self::Ended { result, .. } => Some(*result),
        }
    }

    /// When it started, if it did.
    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Queued => None,
            Self::Running { started_at } => Some(*started_at),
            Self::Ended { started_at, .. } => *started_at,
        }
    }

    /// When it ended, if it did.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Queued | Self::Running { .. } => None,
            Self::Ended { ended_at, .. } => Some(*ended_at),
        }
    }
}

/// A key of a configuration file that is known but can't be done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsupportedKey {
    /// The key with its path, such as `gates.unit.services`.
    pub key: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What to do instead.
    pub instead: String,
}
