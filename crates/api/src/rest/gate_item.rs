//! A gate as JSON.

use sandgate_domain::GateResult;
use sandgate_wire::runs::v1::Gate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run_item::unreadable;
use crate::problem::Problem;
use crate::text::rfc3339;

/// One gate of a run, or one of its setups.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Gate)]
pub struct GateItem {
    /// What `/gates/{id}` takes.
    pub id: String,
    /// The run that it belongs to.
    pub run: String,
    pub name: String,
    /// `gate` or `setup`.
    pub kind: &'static str,
    /// `waiting`, `ready`, `claimed` or `ended`.
    pub state: String,
    /// Null until the end.
    #[schema(example = "failure")]
    pub result: Option<String>,
    /// Whether it decides about the run.
    pub blocking: bool,
    /// How many times it was executed.
    pub attempts: u32,
    /// From the first instruction of its command until its end.
    pub duration_ms: Option<u64>,
    /// From planned until claimed.
    pub queue_ms: Option<u64>,
    /// From claimed until the first instruction of its command.
    pub start_ms: Option<u64>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Why it ended so, where the result alone does not say it.
    pub reason: Option<String>,
    /// Why it waits, while it does.
    pub waiting: Option<String>,
    pub snapshot: Option<String>,
    /// The gate whose result was taken over.
    pub reused_from: Option<String>,
    pub reports: Option<Reports>,
    pub cost: Cost,
    pub queued_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    /// When its command began, as pages need it.
    #[serde(skip)]
    pub started: Option<sandgate_domain::Timestamp>,
}

/// What the report files of a gate say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reports {
    pub tests: u64,
    pub failed: u64,
    #[serde(default)]
    pub failures: Vec<TestFailure>,
}

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestFailure {
    pub name: String,
    #[serde(default)]
    pub file: Option<String>,
    #[serde(default)]
    pub line: Option<u64>,
    #[serde(default)]
    pub message: Option<String>,
}

/// What something cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cost {
    /// US dollars with six decimals.
    #[schema(example = "0.000000")]
    pub usd: String,
}

impl Cost {
    fn from_micro_usd(micros: u64) -> Self {
        Self { usd: format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000) }
    }
}

impl TryFrom<Gate> for GateItem {
    type Error = Problem;

    fn try_from(gate: Gate) -> Result<Self, Problem> {
        let result: Option<GateResult> =
            gate.outcome().map_err(|error| unreadable(&error.to_string()))?;
        let reports = gate.reports.as_deref().map(parse_reports).transpose()?;
        let (queued, claimed, started, ended) =
            (gate.queued(), gate.claimed(), gate.started(), gate.ended());
        let between = |from: Option<sandgate_domain::Timestamp>, to: Option<_>| {
            from.zip(to).map(|(from, to): (_, sandgate_domain::Timestamp)| {
                u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
            })
        };
        Ok(Self {
            id: gate.id,
            run: gate.run,
            name: gate.name,
            kind: if gate.is_setup { "setup" } else { "gate" },
            state: gate.state,
            result: result.map(|result| result.as_str().to_owned()),
            blocking: gate.blocking,
            attempts: gate.attempts,
            duration_ms: between(started, ended),
            queue_ms: between(Some(queued), claimed),
            start_ms: between(claimed, started),
            exit_code: gate.exit_code,
            signal: gate.signal,
            reason: gate.reason,
            waiting: gate.waiting,
            snapshot: gate.snapshot,
            reused_from: gate.reused_from,
            reports,
            cost: Cost::from_micro_usd(gate.cost_micro_usd),
            queued_at: rfc3339(queued),
            started_at: started.map(rfc3339),
            ended_at: ended.map(rfc3339),
            started,
        })
    }
}

fn parse_reports(json: &str) -> Result<Reports, Problem> {
    serde_json::from_str(json).map_err(|error| unreadable(&format!("gate.reports: {error}")))
}
