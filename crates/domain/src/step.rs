//! A step: the claimable unit of a run, one gate, one setup, or its end.
//!
//! Whoever works on a step holds a lease and a *fence*: a number that only grows, one higher with every claim. Everything
//! that the holder reports carries its fence, so that the report of a holder who was replaced meanwhile changes nothing.

use crate::name::named_enum;
use crate::{GateResult, RunId, SnapshotId, StepId, TenantId, Timestamp};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The run it belongs to.
    pub run: RunId,
    /// The name of the gate, or of the environment whose setup it is. Unique for its kind in the run.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Whether its result decides about the run.
    pub blocking: bool,
    /// How far it is.
    pub state: StepState,
    /// How many times it was claimed.
    pub attempts: u32,
    /// How many of those were lost to us: a runner or a sandbox that vanished.
    pub infra_retries: u32,
    /// The highest fence given out; 0 before the first claim.
    pub fence: u64,
    /// When it was planned.
    pub queued_at: Timestamp,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// Makes an environment.
    Setup,
    /// Runs the commands of a gate.
    Gate,
    /// Keeps the files of a run in which everything passed as its approved snapshot, and so ends it.
    Close,
}

named_enum!(StepKind, "kind of step", Setup => "setup", Gate => "gate", Close => "close");

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// Steps that it needs have not passed yet.
    Waiting,
    /// It may be claimed.
    Ready,
    /// Somebody works on it.
    Claimed {
        /// Who.
        owner: String,
        /// Until when, if not renewed.
        lease_until: Timestamp,
        /// Since when.
        claimed_at: Timestamp,
        /// When the first instruction of its commands ran.
        started_at: Option<Timestamp>,
    },
    /// It has a result, and keeps it.
    Ended {
        /// What came out.
        completion: Completion,
        /// When the last claim was; none if it ended unclaimed.
        claimed_at: Option<Timestamp>,
        /// When the first instruction of its commands ran.
        started_at: Option<Timestamp>,
        /// When it ended.
        ended_at: Timestamp,
    },
}

impl StepState {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Claimed { .. } => "claimed",
            Self::Ended { .. } => "ended",
        }
    }

    /// What came out, once it ended.
    pub fn completion(&self) -> Option<&Completion> {
        match self {
            Self::Waiting | Self::Ready | Self::Claimed { .. } => None,
            Self::Ended { completion, .. } => Some(completion),
        }
    }

    /// When it was last claimed.
    pub fn claimed_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting | Self::Ready => None,
            Self::Claimed { claimed_at, .. } => Some(*claimed_at),
            Self::Ended { claimed_at, .. } => *claimed_at,
        }
    }

    /// When the first instruction of its commands ran.
    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting | Self::Ready => None,
            Self::Claimed { started_at, .. } | Self::Ended { started_at, .. } => *started_at,
        }
    }
}

/// What came out of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// How it ended.
    pub result: GateResult,
    /// Why, in words, where the result alone does not say it.
    pub reason: Option<String>,
    /// The exit status of the command that decided.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Counts and findings of its report files, as JSON text.
    pub reports: Option<String>,
    /// The snapshot that was made of it.
    pub snapshot: Option<SnapshotId>,
}

impl Completion {
    /// A result that says all, such as a plain success.
    pub fn of(result: GateResult) -> Self {
        Self { result, reason: None, exit_code: None, signal: None, reports: None, snapshot: None }
    }

    /// A result with its reason, such as a skip.
    pub fn because(result: GateResult, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::of(result) }
    }
}
