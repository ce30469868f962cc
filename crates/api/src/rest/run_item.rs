//! A run as JSON: the document that `run -o json` prints, and a few fields more.

use std::collections::BTreeMap;

use sandgate_domain::{ErrorCode, GateResult, Timestamp};
use sandgate_wire::runs::v1::Run;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate_item::GateItem;
use crate::problem::Problem;
use crate::text::rfc3339;

/// One run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Run)]
pub struct RunItem {
    pub id: String,
    /// The repository, such as `owner/name`.
    pub repo: String,
    pub sha: String,
    /// Whether the working tree differed from the commit.
    pub dirty: bool,
    /// The verdict; null until the end.
    #[schema(example = "success")]
    pub result: Option<String>,
    /// How well its sandboxes were separated; null until it is known.
    pub isolation: Option<Isolation>,
    /// From planned until its end; null until the end.
    pub duration_ms: Option<u64>,
    /// Keys of the configuration that this version knows but can't do yet.
    pub unsupported: Vec<UnsupportedKey>,
    pub gates: Vec<GateItem>,
    pub approved_snapshot: Option<String>,
    /// The snapshots of gates that did not pass, by gate.
    pub debug_snapshots: BTreeMap<String, String>,
    /// `queued`, `running` or `ended`.
    pub state: String,
    pub setups: Vec<GateItem>,
    pub base_sha: Option<String>,
    pub branch: Option<String>,
    pub pull_request: Option<String>,
    /// Why it waits, while it does.
    pub waiting: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    /// When it was planned, as pages need it.
    #[serde(skip)]
    pub created: Timestamp,
}

/// How well the sandboxes of a run were separated from the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Isolation {
    /// Whether all seven namespaces hold.
    pub namespaces: bool,
    /// The limits that are held.
    pub limits: Vec<String>,
    /// Whether the network policy is enforced.
    pub network: bool,
    /// `namespaces` or `process`.
    pub level: String,
}

/// A key of the configuration that can't be done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnsupportedKey {
    pub key: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// What to do instead.
    pub instead: String,
}

impl TryFrom<Run> for RunItem {
    type Error = Problem;

    fn try_from(run: Run) -> Result<Self, Problem> {
        let result = run.verdict().map_err(|error| unreadable(&error.to_string()))?;
        let isolation = run.isolation.as_deref().map(|json| parse("run.isolation", json));
        let unsupported = match run.unsupported.as_str() {
            "" => Vec::new(),
            json => parse("run.unsupported", json)?,
        };
        let (created, started, ended) = (run.created(), run.started(), run.ended());
        let (setups, gates): (Vec<_>, Vec<_>) = run.gates.into_iter().partition(|g| g.is_setup);
        let gates: Vec<GateItem> = convert(gates)?;
        Ok(Self {
            id: run.id,
            repo: run.repository,
            sha: run.sha,
            dirty: run.dirty,
            result: result.map(|result| result.as_str().to_owned()),
            isolation: isolation.transpose()?,
            duration_ms: ended.map(|ended| millis(created, ended)),
            unsupported,
            debug_snapshots: debug_snapshots(&gates),
            gates,
            approved_snapshot: run.approved_snapshot,
            state: run.state,
            setups: convert(setups)?,
            base_sha: run.base_sha,
            branch: run.branch,
            pull_request: run.pull_request,
            waiting: run.waiting,
            created,
            created_at: rfc3339(created),
            started_at: started.map(rfc3339),
            ended_at: ended.map(rfc3339),
        })
    }
}

/// Items of messages.
///
/// # Errors
/// If one of them can't be read.
pub fn convert<M, T: TryFrom<M, Error = Problem>>(messages: Vec<M>) -> Result<Vec<T>, Problem> {
    messages.into_iter().map(T::try_from).collect()
}

/// A service answered with something that we can't read: our fault.
pub fn unreadable(what: &str) -> Problem {
    Problem::new(ErrorCode::Internal, "a service answered with something unreadable").because(what)
}

fn parse<T: serde::de::DeserializeOwned>(field: &str, json: &str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| unreadable(&format!("{field}: {error}")))
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

fn debug_snapshots(gates: &[GateItem]) -> BTreeMap<String, String> {
    let passed = [GateResult::Success.as_str(), GateResult::Skip.as_str()];
    gates
        .iter()
        .filter(|gate| gate.result.as_deref().is_some_and(|result| !passed.contains(&result)))
        .filter_map(|gate| Some((gate.name.clone(), gate.snapshot.clone()?)))
        .collect()
}
