//! The rows of a run's steps, and what is written into them at the end.

use sandgate_domain::{Completion, RunId, Step, StepId, StepKind, StepState, Timestamp};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Outcome, Record, RunState};

use super::{Inner, SETUP, StepReport};

/// The rows of a planned run: its setup, if it has one, then its gates in order. Filtered gates have ended already.
pub(super) fn planned_steps(
    run: RunId,
    inner: &Inner,
    plan: &Plan,
    state: &RunState,
    now: Timestamp,
) -> Vec<Step> {
    let step = |name: &str, kind, blocking, ended: Option<&Record>| Step {
        id: StepId::new(&*inner.parts.ids),
        tenant: inner.parts.tenant.clone(),
        run,
        name: name.to_owned(),
        kind,
        blocking,
        state: match ended {
            None => StepState::Waiting,
            Some(record) => StepState::Ended {
                completion: completion(record, None),
                claimed_at: None,
                started_at: None,
                ended_at: now,
            },
        },
        attempts: 0,
        infra_retries: 0,
        fence: 0,
        queued_at: now,
    };
    let setup = plan.environment.setup.iter().map(|_| step(SETUP, StepKind::Setup, true, None));
    let gates = plan.gates.iter().map(|gate| {
        let record = state.gate(&gate.name).and_then(|gate| gate.record());
        step(gate.name.as_str(), StepKind::Gate, gate.blocking, record)
    });
    setup.chain(gates).collect()
}

/// The steps that have a record now and had none before, with it.
pub(super) fn newly_ended(before: &RunState, after: &RunState) -> Vec<(String, Record)> {
    let mut ended = Vec::new();
    let setup = |state: &RunState| state.setup.as_ref().and_then(|setup| setup.record.clone());
    if let (None, Some(record)) = (setup(before), setup(after)) {
        ended.push((SETUP.to_owned(), record));
    }
    for (old, new) in before.gates.iter().zip(&after.gates) {
        if let (None, Some(record)) = (old.record(), new.record()) {
            ended.push((new.name.to_string(), record.clone()));
        }
    }
    ended
}

/// What is written down of the end of a step.
pub(super) fn completion(record: &Record, report: Option<&StepReport>) -> Completion {
    let note = report.and_then(|report| report.note.clone());
    let reason = match (record.reason.clone(), note) {
        (Some(reason), Some(note)) => Some(format!("{reason}; {note}")),
        (reason, note) => reason.or(note),
    };
    Completion {
        result: record.result,
        reason,
        exit_code: record.exit_code,
        signal: record.signal,
        reports: report.and_then(|report| report.reports.clone()),
        snapshot: report.and_then(|report| report.snapshot),
    }
}

/// Why an attempt is made again, for people.
pub(super) fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(code) => format!("it ended with status {code}"),
        Outcome::Signaled(signal) => format!("it was ended by signal {signal}"),
        Outcome::TimedOut => "it took too long".to_owned(),
        Outcome::LimitBroken { limit } => format!("it broke its {limit} limit"),
        Outcome::Infra { reason } | Outcome::Cancelled { reason } => reason.clone(),
    }
}
