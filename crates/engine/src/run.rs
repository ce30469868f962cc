//! The run as a state machine: which step starts next, what each ending means, and when the run is over with which result.
//!
//! [`decide`] takes the state, one [`Input`] and the time, and gives the next state and what has to be done. It does not
//! know sandboxes, queues or clocks. Inputs may repeat or come late: what concerns a finished attempt changes nothing.
//!
//! Rules worth knowing:
//! * A gate starts when all it needs has passed. A gate that was filtered out passes.
//! * A gate whose need did not pass is skipped as soon as *all* its needs have ended, so that its record does not depend on
//!   the order in which they ended.
//! * The exit status decides. Failing tests in a report of a command that ended with 0 do not turn it red.
//! * The result of a run counts causes, not consequences: a gate that was skipped or stopped because of another gate counts
//!   with the result of that other gate.

use std::time::Duration;

use sandgate_domain::{ErrorCode, GateResult, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::FailFast;
use crate::name::GateName;
use crate::plan::Plan;

mod decide;
mod judge;
mod verdict;

pub use decide::decide;
pub use judge::{Judgement, Outcome, RetryBudget, judge};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    /// The run may begin.
    Begin,
    /// An attempt of the setup ended.
    SetupEnded {
        /// Which, from 1.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// The command of a gate began.
    GateStarted {
        /// Which gate.
        gate: GateName,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// An attempt of a gate ended, and nothing of it runs any more.
    GateEnded {
        /// Which gate.
        gate: GateName,
        /// Which attempt, from 1.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// Somebody wants the run to stop.
    Cancel {
        /// Why, for people.
        reason: String,
    },
}

/// What has to be done now. Doing one twice must be harmless: each is named by gate and attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Start the setup.
    StartSetup {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Stop the setup. [`Input::SetupEnded`] must follow.
    CancelSetup {
        /// Why, for people.
        reason: String,
    },
    /// Start an attempt of a gate.
    StartGate {
        /// Which gate.
        gate: GateName,
        /// Which attempt, from 1.
        attempt: u32,
        /// The gate in whose files it starts.
        from: Option<GateName>,
    },
    /// Stop an attempt of a gate. [`Input::GateEnded`] must follow.
    CancelGate {
        /// Which gate.
        gate: GateName,
        /// Which attempt.
        attempt: u32,
        /// Why, for people.
        reason: String,
    },
    /// The run is over; every gate has its record.
    EndRun {
        /// With this result.
        result: GateResult,
    },
}

/// A run between two inputs, stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// How far it is.
    pub phase: Phase,
    /// The setup, if the plan has one.
    pub setup: Option<SetupState>,
    /// The gates, in the order of the plan.
    pub gates: Vec<GateState>,
    /// What stops the others.
    pub fail_fast: FailFast,
    /// Why somebody stopped it.
    pub cancelled: Option<String>,
    /// The gate because of which the others were stopped.
    pub stopped_by: Option<GateName>,
    /// When it began.
    pub begun_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Not begun.
    Planned,
    /// The setup runs.
    Setup {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The gates run.
    Gates,
    /// Over.
    Ended {
        /// With this result.
        result: GateResult,
    },
}

/// The setup of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupState {
    /// How often it is tried again after a fault of ours.
    pub infra_retries: u32,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// How it ended.
    pub record: Option<Record>,
}

/// One gate of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    /// Its name.
    pub name: GateName,
    /// What must pass before.
    pub needs: Vec<GateName>,
    /// In whose files it starts.
    pub from: Option<GateName>,
    /// Whether it decides.
    pub blocking: bool,
    /// How long an attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// How often it is tried again after a fault of ours.
    pub infra_retries: u32,
    /// How often it is tried again after a failure or timeout of its own.
    pub gate_retries: u32,
    /// How far it is.
    pub status: GateStatus,
}

/// How far a gate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateStatus {
    /// Not started.
    Waiting,
    /// An attempt was started.
    Running(Attempt),
    /// Over.
    Ended(Record),
}

/// The attempt of a gate that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which, from 1.
    pub number: u32,
    /// How many of the earlier ones were our fault.
    pub infra_faults: u32,
    /// When the first command of the first attempt began.
    pub started_at: Option<Timestamp>,
    /// That it was told to stop, and why.
    pub stopping: Option<Stopping>,
}

/// Why an attempt was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopping {
    /// For people.
    pub reason: String,
    /// For the verdict.
    pub cause: Cause,
}

/// How a gate or the setup ended. Each has exactly one in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// With this result.
    pub result: GateResult,
    /// Why, for people; none after a success.
    pub reason: Option<String>,
    /// Whose doing it was.
    pub cause: Cause,
    /// How many attempts were started.
    pub attempts: u32,
    /// The exit code of the last attempt, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended the last attempt.
    pub signal: Option<i32>,
    /// When the first command of the first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// Whose doing a result was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Its own, or ours while running it.
    Own,
    /// It had no reason to run.
    Filtered,
    /// The setup did not succeed.
    Setup,
    /// A gate that it needs did not pass.
    Needs {
        /// The first of them.
        gate: GateName,
    },
    /// Another gate did not pass, and `fail_fast` stopped this one.
    FailFast {
        /// That other gate.
        gate: GateName,
    },
    /// Somebody stopped it.
    Cancelled,
}

/// An input that cannot happen in this state: a fault of whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such gate.
    #[error("the run has no gate `{gate}`")]
    UnknownGate {
        /// What was named.
        gate: GateName,
    },
    /// News of a gate that was never started.
    #[error("gate `{gate}` was not started")]
    GateNotStarted {
        /// Which.
        gate: GateName,
    },
    /// News of an attempt that was never started.
    #[error("attempt {attempt} of {what} was not started; the latest is {latest}")]
    AttemptNotStarted {
        /// The gate in back quotes, or the setup.
        what: String,
        /// The attempt that was named.
        attempt: u32,
        /// The latest that was started.
        latest: u32,
    },
    /// News of a setup that the plan does not have, or that was not started.
    #[error("the setup was not started")]
    SetupNotStarted,
}

impl DecideError {
    /// The general code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownGate { .. } => ErrorCode::NotFound,
            Self::GateNotStarted { .. }
            | Self::AttemptNotStarted { .. }
            | Self::SetupNotStarted => ErrorCode::Conflict,
        }
    }
}

impl RunState {
    /// The run of a plan, before it begins.
    pub fn new(plan: &Plan) -> Self {
        let setup = plan.environment.setup.as_ref().map(|setup| SetupState {
            infra_retries: setup.infra_retries,
            timeout_ms: milliseconds(setup.timeout),
            record: None,
        });
        let gates = plan.gates.iter().map(|gate| GateState {
            name: gate.name.clone(),
            needs: gate.needs.clone(),
            from: gate.from.clone(),
            blocking: gate.blocking,
            timeout_ms: milliseconds(gate.timeout),
            infra_retries: gate.infra_retries,
            gate_retries: gate.gate_retries,
            status: match &gate.filtered {
                None => GateStatus::Waiting,
                Some(filtered) => GateStatus::Ended(Record {
                    result: GateResult::Skip,
                    reason: Some(filtered.to_string()),
                    cause: Cause::Filtered,
                    attempts: 0,
                    exit_code: None,
                    signal: None,
                    started_at: None,
                    ended_at: Timestamp::from_micros(0),
                }),
            },
        });
        Self {
            phase: Phase::Planned,
            setup,
            gates: gates.collect(),
            fail_fast: plan.fail_fast,
            cancelled: None,
            stopped_by: None,
            begun_at: None,
            ended_at: None,
        }
    }

    /// The result, once the run is over.
    pub fn result(&self) -> Option<GateResult> {
        match self.phase {
            Phase::Ended { result } => Some(result),
            Phase::Planned | Phase::Setup { .. } | Phase::Gates => None,
        }
    }

    /// The gate of that name.
    pub fn gate(&self, name: &GateName) -> Option<&GateState> {
        self.gates.iter().find(|gate| gate.name == *name)
    }
}

impl GateState {
    /// How it ended, once it has.
    pub fn record(&self) -> Option<&Record> {
        match &self.status {
            GateStatus::Ended(record) => Some(record),
            GateStatus::Waiting | GateStatus::Running(_) => None,
        }
    }
}

impl Record {
    /// Whether gates that need this one may start.
    pub fn passes(&self) -> bool {
        self.result == GateResult::Success || self.cause == Cause::Filtered
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
