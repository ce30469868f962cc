//! What watchers of a run are told while it goes on.

use std::time::Duration;

use sandgate_domain::{GateResult, RunId};

/// Which of a command's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that happened to a run. Steps are named as the gates are; the setup's name is `setup`.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A step may start, as soon as there is room.
    Queued {
        /// The step.
        step: String,
    },
    /// Why a step that may start has not.
    Waits {
        /// The step.
        step: String,
        /// Why.
        reason: String,
        /// Whether it is the next to start; else it waits behind others.
        is_oldest: bool,
    },
    /// A runner took the step.
    Started {
        /// The step.
        step: String,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// The step wrote something.
    Output {
        /// The step.
        step: String,
        /// Where it wrote to.
        stream: Stream,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// An attempt ended without a result and is made again.
    Retried {
        /// The step.
        step: String,
        /// Why the attempt does not count.
        reason: String,
    },
    /// The step has its one result.
    Ended {
        /// The step.
        step: String,
        /// The result.
        result: GateResult,
        /// Why, where that is not plain from the result.
        reason: Option<String>,
        /// From its first instruction to its end.
        duration: Duration,
    },
    /// The run has its verdict.
    Verdict {
        /// The run.
        run: RunId,
        /// The verdict.
        result: GateResult,
    },
}
