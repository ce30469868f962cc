//! What the database is told of the steps of a run.

use std::time::Duration;

use sandgate_domain::{
    Completion, GateResult, RunId, Step, StepId, StepKind, StepState, Timestamp,
};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Record, RunState};

use super::{ActiveRun, Inner, SETUP, StepReport};
use crate::error::Error;
use crate::progress::Progress;

/// The rows of a planned run: its setup, if it has one, then its gates in order. Filtered gates have ended already.
pub(super) fn planned_steps(
    run: RunId,
    inner: &Inner,
    plan: &Plan,
    state: &RunState,
    now: Timestamp,
) -> Vec<Step> {
    let step = |name: &str, kind, blocking, ended: Option<&Record>| Step {
        id: StepId::new(&*inner.ids),
        tenant: inner.tenant.clone(),
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

impl Inner {
    /// Writes the end of a step down and tells watchers.
    pub(super) async fn write_end(
        &self,
        run: &ActiveRun,
        name: &str,
        record: &Record,
        report: Option<&StepReport>,
    ) -> Result<(), Error> {
        let Some(step) = run.step(name) else { return Ok(()) };
        let own = report.filter(|report| report.step == step.id);
        let completion = completion(record, own);
        let steps = self.store.steps(&self.tenant);
        let now = self.clock.now();
        match own {
            Some(report) => {
                steps.complete(step.id, report.fence, &completion, now).await?;
            }
            None => {
                steps.settle(step.id, &completion, now).await?;
            }
        }
        if let Some(layer) = own.and_then(|report| report.layer) {
            super::lock(&run.layers).insert(name.to_owned(), layer);
        }
        let started = own.and_then(|report| report.started_at);
        let ended = own.map_or(now, |report| report.ended_at);
        run.tell(Progress::Ended {
            step: name.to_owned(),
            result: record.result,
            reason: shown_reason(record, own),
            duration: started.map_or(Duration::ZERO, |started| ended.since(started)),
        });
        Ok(())
    }
}

fn shown_reason(record: &Record, report: Option<&StepReport>) -> Option<String> {
    let note = report.and_then(|report| report.note.clone());
    match (record.reason.clone(), note) {
        (Some(reason), Some(note)) => Some(format!("{reason}; {note}")),
        (reason, note) => reason.or(note),
    }
}

fn completion(record: &Record, report: Option<&StepReport>) -> Completion {
    Completion {
        result: record.result,
        reason: shown_reason(record, report)
            .filter(|_| record.result != GateResult::Success || report.is_some()),
        exit_code: record.exit_code,
        signal: record.signal,
        reports: report.and_then(|report| report.reports.clone()),
        snapshot: report.and_then(|report| report.snapshot),
    }
}
