//! What comment and checks need to know of a run.
//!
//! Names, reasons and messages come from the code of a pull request: they are data, and are escaped where they are shown.

use sandgate_domain::{GateResult, RunId, SnapshotId};
use sandgate_forge::CommitId;

/// A run, finished or under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// Its id.
    pub run: RunId,
    /// The head that it is about.
    pub head: CommitId,
    /// Its verdict; none while it is under way.
    pub result: Option<GateResult>,
    /// How long it took so far, in milliseconds.
    pub duration_ms: u64,
    /// Whether the verdict counts.
    pub mode: Mode,
    /// Its gates, in the order of the configuration.
    pub gates: Vec<GateReport>,
    /// The snapshot of what was approved.
    pub approved_snapshot: Option<SnapshotId>,
    /// The address of its page.
    pub page: Option<String>,
    /// The data folder of this server, where a command on this machine has to name it.
    pub data_dir: Option<String>,
}

/// Whether the verdict of a run counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is shown and blocks nothing.
    Shadow,
}

/// One gate of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateReport {
    /// Its name in the configuration.
    pub name: String,
    /// How it ended; none while it waits or runs.
    pub result: Option<GateResult>,
    /// Whether it decides about the run.
    pub is_blocking: bool,
    /// Why it ended so, where the result does not say it all.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The tests that it counted.
    pub tests: Option<TestCounts>,
    /// The tests that failed.
    pub failures: Vec<TestFailure>,
    /// The snapshot in which it failed.
    pub debug_snapshot: Option<SnapshotId>,
}

/// The tests of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestCounts {
    /// All of them.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
}

/// One test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// The test's name.
    pub name: String,
    /// The file, relative to the top of the repository.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// What it said.
    pub message: String,
}

impl RunReport {
    /// How many gates there are, and how many of them did not pass.
    pub fn tally(&self) -> Tally {
        let finished = self.gates.iter().filter_map(|gate| gate.result);
        Tally {
            gates: self.gates.len(),
            finished: finished.clone().count(),
            bad: finished.filter(|result| !result.passes()).count(),
        }
    }

    /// One line on how it stands, such as `failure: 1 of 3 gates did not pass`.
    pub fn headline(&self) -> String {
        let tally = self.tally();
        match self.result {
            None => format!("running: {} of {} gates ended", tally.finished, tally.gates),
            Some(result) if tally.bad == 0 => format!("{result}: {} gates", tally.gates),
            Some(result) => {
                format!("{result}: {} of {} gates did not pass", tally.bad, tally.gates)
            }
        }
    }
}

/// The numbers of a run's gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// All gates.
    pub gates: usize,
    /// Those that ended.
    pub finished: usize,
    /// Those that ended and did not pass.
    pub bad: usize,
}

/// A duration as people read it.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
