//! Between messages and our own values.

use sandgate_domain::{GateResult, Timestamp};
use sandgate_forge::CommitId;
use sandgate_store::{Posting, StoredPullRequest};
use sandgate_wire::pulls::v1 as wire;
use sandgate_wire::runs::v1 as runs;
use sandgate_wire::{FieldError, optional_field, required_field};
use serde::Deserialize;

use crate::Error;
use crate::decide::{Activity, PullRequest, Status};
use crate::posting::ShownCheck;
use crate::report::{GateReport, Mode, RunReport, TestCounts, TestFailure};
use crate::service::Settings;
use crate::trust::TrustTier;

/// The most failures of a gate that are kept.
const MAX_FAILURES: usize = 200;

/// The report files of a gate, as the service of runs counts them.
#[derive(Deserialize)]
struct Reports {
    tests: u64,
    failed: u64,
    #[serde(default)]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    name: String,
    file: Option<String>,
    line: Option<u32>,
    message: Option<String>,
}

/// A tier as it is stored and sent.
pub(crate) fn tier(tier: TrustTier) -> sandgate_domain::TrustTier {
    match tier {
        TrustTier::Member => sandgate_domain::TrustTier::Member,
        TrustTier::Agent => sandgate_domain::TrustTier::Agent,
        TrustTier::Fork => sandgate_domain::TrustTier::Fork,
    }
}

/// What comment and checks need to know of a run; the setup is a gate there only if it went wrong.
pub(crate) fn report(
    run: &runs::Run,
    head: &CommitId,
    settings: &Settings,
    now: Timestamp,
) -> Result<RunReport, FieldError> {
    let shown = |gate: &&runs::Gate| {
        !gate.is_setup || gate.result.as_deref().is_some_and(|result| result != "success")
    };
    let gates = run.gates.iter().filter(shown).map(gate_report).collect::<Result<_, _>>()?;
    let end = run.ended().unwrap_or(now);
    let id = required_field("run.id", &run.id)?;
    Ok(RunReport {
        run: id,
        head: head.clone(),
        result: run.verdict()?,
        duration_ms: run.started().map_or(0, |start| milliseconds(start, end)),
        mode: Mode::Enforce,
        gates,
        approved_snapshot: optional_field(
            "run.approved_snapshot",
            run.approved_snapshot.as_deref(),
        )?,
        page: settings.dashboard.as_ref().map(|address| format!("{address}/runs/{id}")),
        data_dir: settings.data_dir.clone(),
    })
}

fn gate_report(gate: &runs::Gate) -> Result<GateReport, FieldError> {
    let reports = gate.reports.as_deref().map(serde_json::from_str::<Reports>).transpose();
    let reports = reports
        .map_err(|error| FieldError { field: "gate.reports", problem: error.to_string() })?;
    let tests =
        reports.as_ref().map(|found| TestCounts { total: found.tests, failed: found.failed });
    let failures = reports.map_or_else(Vec::new, |found| found.failures);
    let result = gate.outcome()?;
    let did_pass = result.is_none_or(GateResult::passes);
    Ok(GateReport {
        name: gate.name.clone(),
        result,
        is_blocking: gate.blocking,
        reason: gate.reason.clone(),
        attempts: gate.attempts,
        duration_ms: match (gate.started(), gate.ended()) {
            (Some(start), Some(end)) => milliseconds(start, end),
            _ => 0,
        },
        tests,
        failures: failures.into_iter().take(MAX_FAILURES).map(failure).collect(),
        debug_snapshot: optional_field("gate.snapshot", gate.snapshot.as_deref())?
            .filter(|_| !did_pass),
    })
}

fn failure(failure: Failure) -> TestFailure {
    let Failure { name, file, line, message } = failure;
    TestFailure { name, file, line, message: message.unwrap_or_default() }
}

fn milliseconds(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_micros().saturating_sub(start.as_micros()) / 1000).unwrap_or(0)
}

/// A pull request as callers see it.
pub(crate) fn pull_request(
    stored: &StoredPullRequest,
    state: &PullRequest,
    checks: &[Posting],
    comment: Option<String>,
) -> Result<wire::PullRequest, Error> {
    let view = state
        .view()
        .ok_or_else(|| Error::UnknownPullRequest(format!("{} with a head", stored.id)))?;
    let own = state.repository.key();
    let is_fork = view.head_repository.as_ref().map(|head| head.key()) != Some(own);
    let is_answered = stored.answered_revision == stored.revision;
    Ok(wire::PullRequest {
        id: stored.id.to_string(),
        repository: stored.repository.clone(),
        number: stored.number,
        title: view.title,
        author: view.author.unwrap_or_default(),
        head_sha: view.head.to_string(),
        head_branch: view.head_branch.to_string(),
        base_sha: view.base.as_ref().map(ToString::to_string).unwrap_or_default(),
        base_branch: view.base_branch.to_string(),
        fork: is_fork || view.tier == TrustTier::Fork,
        tier: view.tier.as_str().to_owned(),
        state: if view.status == Status::Open { "open" } else { "closed" }.to_owned(),
        merged: view.status == Status::Merged,
        draft: view.is_draft,
        held: matches!(state.activity, Activity::Held { .. }),
        generation: u32::try_from(stored.revision).unwrap_or(u32::MAX),
        updated_at: stored.updated_at.as_micros(),
        checks: checks
            .iter()
            .map(|posting| check(posting, &stored.head_sha))
            .collect::<Result<_, _>>()?,
        comment,
        run: stored.run.filter(|_| is_answered).map(|run| run.to_string()),
    })
}

fn check(posting: &Posting, head: &str) -> Result<wire::Check, Error> {
    let shown: ShownCheck = serde_json::from_str(&posting.content)
        .map_err(|source| Error::Encode { what: "a check", source })?;
    let status = if shown.conclusion.is_some() { "completed" } else { "in_progress" };
    Ok(wire::Check {
        name: posting.slot.clone(),
        sha: head.to_owned(),
        status: status.to_owned(),
        conclusion: shown.conclusion,
        title: shown.title,
        summary: shown.summary,
    })
}
