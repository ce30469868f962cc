//! One input through the state machine: one transaction, then what follows from it in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_domain::{
    Completion, Event, EventId, EventType, GateResult, Run, RunChanged, RunId, Step, StepKind,
    Timestamp,
};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Effect, Input, Outcome, Record, decide};
use sandgate_store::{OutboxMessage, Retry, Transaction};

use super::{Inner, SETUP, Saved, StepReport, lock, rows};
use crate::error::Error;
use crate::progress::Progress;

/// The name of the outbox of this service.
pub const OUTBOX: &str = "integration-agent";

/// What follows in memory once the transaction is committed.
#[derive(Default)]
struct Aftermath {
    told: Vec<Progress>,
    stopped: Vec<Step>,
    has_work: bool,
    ended: Option<GateResult>,
}

impl Inner {
    /// Feeds one input to the state machine of a run; the verdict, if that ended it.
    pub(super) async fn apply(
        &self,
        id: RunId,
        input: Input,
        report: Option<&StepReport>,
    ) -> Result<Option<GateResult>, Error> {
        let parts = &self.parts;
        let transaction = parts.store.begin().await?;
        let runs = transaction.runs(&parts.tenant);
        let run = runs.get(id).await?.ok_or(Error::NoRun(id))?;
        if run.state.result().is_some() {
            return Ok(None);
        }
        let mut saved: Saved = serde_json::from_str(&run.progress)?;
        let now = parts.clock.now();
        let (next, effects) =
            decide(&saved.state, input, now).map_err(|source| Error::Decide { run: id, source })?;
        let steps = transaction.steps(&parts.tenant).of_run(id).await?;
        let ended = rows::newly_ended(&saved.state, &next);
        saved.state = next;
        saved.sequence += 1;
        let mut after = Aftermath::default();
        for (name, record) in &ended {
            let change = Change { transaction: &transaction, steps: &steps, report, now };
            self.write_end(&change, &mut saved, name, record, &mut after).await?;
        }
        // Before the effects: one of them may end the run, and what has ended is not changed any more.
        runs.advance(id, &serde_json::to_string(&saved)?).await?;
        for effect in effects {
            let change = Change { transaction: &transaction, steps: &steps, report, now };
            self.write_effect(&change, &run, effect, &mut after).await?;
        }
        if after.ended.is_none() {
            self.emit(&transaction, "changed", &run, None).await?;
        }
        transaction.commit().await?;
        sandgate_domain::fail_point::reached("run.advanced");
        parts.relay.notify_one();
        self.follow_up(id, &saved, &after);
        Ok(after.ended)
    }

    /// Writes an event of a run into the outbox.
    pub(super) async fn emit(
        &self,
        transaction: &Transaction,
        what: &'static str,
        run: &Run,
        result: Option<GateResult>,
    ) -> Result<(), Error> {
        let parts = &self.parts;
        let now = parts.clock.now();
        let kind = EventType::new("run", what, 1)?;
        let data = serde_json::to_value(RunChanged {
            run: run.id,
            pull_request: run.pull_request.as_deref().and_then(|id| id.parse().ok()),
            repository: run.repository.clone(),
            sha: run.head_sha.clone(),
            generation: u64::from(run.generation),
            result,
        })?;
        let id = EventId::new(&*parts.ids);
        let source = "sandgate/integration-agent";
        let tenant = parts.tenant.clone();
        let event = Event::new(id, source, kind, run.id.to_string(), now, tenant, data);
        let message = OutboxMessage {
            event_id: id,
            tenant: parts.tenant.clone(),
            subject: sandgate_bus::subjects::of(&event),
            headers: BTreeMap::new(),
            body: serde_json::to_string(&event)?,
        };
        transaction.outbox(OUTBOX).push(&message, now).await?;
        Ok(())
    }

    /// Ends a run and all of its steps that have no result yet.
    pub(super) async fn end_all(
        &self,
        id: RunId,
        result: GateResult,
        reason: &str,
    ) -> Result<(), Error> {
        let parts = &self.parts;
        let now = parts.clock.now();
        let transaction = parts.store.begin().await?;
        let runs = transaction.runs(&parts.tenant);
        let run = runs.get(id).await?.ok_or(Error::NoRun(id))?;
        let completion = Completion::because(result, reason);
        transaction.steps(&parts.tenant).settle_run(id, &completion, now).await?;
        if runs.end(id, result, None, now).await? {
            self.emit(&transaction, "ended", &run, Some(result)).await?;
        }
        transaction.commit().await?;
        parts.relay.notify_one();
        self.announce(id, result);
        Ok(())
    }

    /// Writes the end of a step down.
    async fn write_end(
        &self,
        change: &Change<'_>,
        saved: &mut Saved,
        name: &str,
        record: &Record,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        let Some(step) = find(change.steps, name) else { return Ok(()) };
        let own = change.report.filter(|report| report.step == step.id);
        let completion = rows::completion(record, own);
        let steps = change.transaction.steps(&self.parts.tenant);
        match own {
            Some(report) => {
                steps.complete(step.id, report.fence, &completion, change.now).await?;
            }
            None => {
                steps.settle(step.id, &completion, change.now).await?;
            }
        }
        if let Some(layer) = own.and_then(|report| report.layer) {
            saved.layers.insert(name.to_owned(), layer);
        }
        let started = own.and_then(|report| report.started_at);
        let ended = own.map_or(change.now, |report| report.ended_at);
        after.told.push(Progress::Ended {
            step: name.to_owned(),
            result: record.result,
            reason: completion.reason,
            duration: started.map_or(Duration::ZERO, |started| ended.since(started)),
        });
        Ok(())
    }

    async fn write_effect(
        &self,
        change: &Change<'_>,
        run: &Run,
        effect: Effect,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        match effect {
            Effect::StartSetup { attempt } => {
                self.write_start(change, SETUP, attempt, after).await?;
            }
            Effect::StartGate { gate, attempt, .. } => {
                self.write_start(change, gate.as_str(), attempt, after).await?;
            }
            Effect::CancelSetup { .. } => {
                after.stopped.extend(find(change.steps, SETUP).cloned());
            }
            Effect::CancelGate { gate, .. } => {
                after.stopped.extend(find(change.steps, gate.as_str()).cloned());
            }
            Effect::EndRun { result } => {
                let runs = change.transaction.runs(&self.parts.tenant);
                runs.end(run.id, result, None, change.now).await?;
                self.emit(change.transaction, "ended", run, Some(result)).await?;
                after.ended = Some(result);
            }
        }
        Ok(())
    }

    /// A step may be claimed: for the first time, or again after an attempt that does not count.
    async fn write_start(
        &self,
        change: &Change<'_>,
        name: &str,
        attempt: u32,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        let Some(step) = find(change.steps, name) else { return Ok(()) };
        let steps = change.transaction.steps(&self.parts.tenant);
        match change.report.filter(|report| report.step == step.id && attempt > 1) {
            None => {
                steps.ready(step.id).await?;
                after.told.push(Progress::Queued { step: name.to_owned() });
            }
            Some(report) => {
                let is_ours = matches!(report.outcome, Outcome::Infra { .. });
                let retry = if is_ours { Retry::Infra } else { Retry::Gate };
                steps.release(step.id, report.fence, retry).await?;
                let reason = rows::describe(&report.outcome);
                after.told.push(Progress::Retried { step: name.to_owned(), reason });
            }
        }
        after.has_work = true;
        Ok(())
    }

    fn follow_up(&self, id: RunId, saved: &Saved, after: &Aftermath) {
        for event in &after.told {
            self.tell(id, event.clone());
        }
        for step in &after.stopped {
            lock(&self.cancelled).entry(step.id).or_default().cancel();
        }
        if after.has_work {
            self.work.notify_waiters();
        }
        // A whole success is announced when its snapshot is made, by whoever makes it.
        match after.ended {
            Some(GateResult::Success) if saved.is_whole => {}
            Some(result) => self.announce(id, result),
            None => {}
        }
    }
}

/// What an input changes, and when.
struct Change<'a> {
    transaction: &'a Transaction,
    steps: &'a [Step],
    report: Option<&'a StepReport>,
    now: Timestamp,
}

fn find<'a>(steps: &'a [Step], name: &str) -> Option<&'a Step> {
    let is_setup = name == SETUP;
    steps.iter().find(|step| step.name == name && (step.kind == StepKind::Setup) == is_setup)
}

/// The plan of a run, as it was written down.
pub(super) fn plan_of(run: &Run) -> Result<Plan, Error> {
    Ok(serde_json::from_str(&run.plan)?)
}
