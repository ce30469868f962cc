//! A run as JSON, in the shape that scripts rely on.

use std::collections::BTreeMap;

use sandgate_domain::{
    Completion, GateResult, IsolationLevel, IsolationSummary, Run, Step, StepKind, Timestamp,
    UnsupportedKey,
};
use serde::Serialize;
use serde_json::Value;

/// A run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    id: String,
    repo: String,
    sha: String,
    dirty: bool,
    /// The verdict; null until the end.
    pub result: Option<GateResult>,
    isolation: Option<IsolationSummary>,
    duration_ms: Option<u64>,
    unsupported: Vec<UnsupportedKey>,
    /// The setup, if the run has one.
    pub setup: Option<GateView>,
    /// The gates.
    pub gates: Vec<GateView>,
    /// The snapshot that the success made.
    pub approved_snapshot: Option<String>,
    /// The debug snapshots by gate.
    pub debug_snapshots: BTreeMap<String, String>,
}

/// A gate of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// Its result; null until the end.
    pub result: Option<GateResult>,
    attempts: u32,
    duration_ms: Option<u64>,
    queue_ms: Option<u64>,
    start_ms: Option<u64>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    /// Why it ended so.
    pub reason: Option<String>,
    snapshot: Option<String>,
    reused_from: Option<String>,
    /// Counts and failing tests of its report files.
    pub reports: Option<Value>,
    cost: Cost,
}

/// What it cost: nothing is paid for on this machine.
#[derive(Debug, Serialize)]
struct Cost {
    usd: &'static str,
}

impl RunView {
    /// The view of a run and its steps.
    pub fn new(run: &Run, steps: &[Step]) -> Self {
        let of_kind = |kind| steps.iter().filter(move |step: &&Step| step.kind == kind);
        let debug_snapshots = of_kind(StepKind::Gate).filter_map(|step| {
            let snapshot = step.state.completion()?.snapshot?;
            Some((step.name.clone(), snapshot.to_string()))
        });
        Self {
            id: run.id.to_string(),
            repo: run.repository.clone(),
            sha: run.head_sha.clone(),
            dirty: run.dirty,
            result: run.state.result(),
            isolation: run.isolation.clone(),
            duration_ms: between(run.state.started_at(), run.state.ended_at()),
            unsupported: run.unsupported.clone(),
            setup: of_kind(StepKind::Setup).map(GateView::new).next(),
            debug_snapshots: debug_snapshots.collect(),
            gates: of_kind(StepKind::Gate).map(GateView::new).collect(),
            approved_snapshot: run.approved_snapshot.map(|id| id.to_string()),
        }
    }
}

impl RunView {
    /// Whether its gates were plain processes.
    pub fn is_plain(&self) -> bool {
        self.isolation.as_ref().is_some_and(|found| found.level == IsolationLevel::Process)
    }
}

impl GateView {
    fn new(step: &Step) -> Self {
        let completion: Option<&Completion> = step.state.completion();
        let ended_at = match &step.state {
            sandgate_domain::StepState::Ended { ended_at, .. } => Some(*ended_at),
            sandgate_domain::StepState::Waiting
            | sandgate_domain::StepState::Ready
            | sandgate_domain::StepState::Claimed { .. } => None,
        };
        let reports = completion.and_then(|completion| completion.reports.as_ref());
        Self {
            name: step.name.clone(),
            result: completion.map(|completion| completion.result),
            attempts: step.attempts,
            duration_ms: between(step.state.started_at(), ended_at),
            queue_ms: between(Some(step.queued_at), step.state.claimed_at()),
            start_ms: between(step.state.claimed_at(), step.state.started_at()),
            exit_code: completion.and_then(|completion| completion.exit_code),
            signal: completion.and_then(|completion| completion.signal),
            reason: completion.and_then(|completion| completion.reason.clone()),
            snapshot: completion
                .and_then(|completion| completion.snapshot)
                .map(|id| id.to_string()),
            reused_from: None,
            reports: reports.and_then(|text| serde_json::from_str(text).ok()),
            cost: Cost { usd: "0.000000" },
        }
    }
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    let micros = to?.since(from?).as_micros();
    u64::try_from(micros / 1000).ok()
}
