//! One input through the state machine: one transaction, then what follows from it in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_domain::{
    Completion, Event, EventId, EventType, GateResult, Run, RunChanged, RunId, SnapshotId, Step,
    StepKind, Timestamp,
};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Effect, Input, Outcome, Record, decide};
use sandgate_store::{OutboxMessage, Retry, Transaction};

use super::{Inner, SETUP, Saved, StepReport, rows};
use crate::error::Error;
use crate::progress::Progress;

/// The name of the outbox of this service.
pub const OUTBOX: &str = "integration-agent";

/// What follows in memory once the transaction is committed.
#[derive(Default)]
pub(super) struct Aftermath {
    pub(super) told: Vec<Progress>,
    /// A step is to stop.
    pub(super) has_stops: bool,
    /// A step may be claimed.
    pub(super) has_work: bool,
    pub(super) ended: Option<GateResult>,
}

impl Inner {
    /// Feeds one input to the state machine of a run; the verdict, if that ended it.
    pub(super) async fn apply(&self, id: RunId, input: Input) -> Result<Option<GateResult>, Error> {
        let parts = &self.parts;
        let transaction = parts.store.begin().await?;
        let run = transaction.runs(&parts.tenant).get(id).await?.ok_or(Error::NoRun(id))?;
        let mut after = Aftermath::default();
        self.advance(&transaction, &run, vec![input], None, &mut after).await?;
        self.commit(transaction, id, &after).await?;
        Ok(after.ended)
    }

    /// Feeds inputs to the state machine of a run and writes down what follows from them. Those for a run that has ended
    /// change nothing.
    pub(super) async fn advance(
        &self,
        transaction: &Transaction,
        run: &Run,
        inputs: Vec<Input>,
        report: Option<&StepReport>,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        if run.state.result().is_some() {
            return Ok(());
        }
        let parts = &self.parts;
        let mut saved: Saved = serde_json::from_str(&run.progress)?;
        let now = parts.clock.now();
        let mut next = saved.state.clone();
        let mut effects = Vec::new();
        for input in inputs {
            let (state, more) = decide(&next, input, now)
                .map_err(|source| Error::Decide { run: run.id, source })?;
            next = state;
            effects.extend(more);
        }
        let steps = transaction.steps(&parts.tenant).of_run(run.id).await?;
        let ended = rows::newly_ended(&saved.state, &next);
        saved.state = next;
        saved.sequence += 1;
        let change = Change { transaction, steps: &steps, report, now };
        for (name, record) in &ended {
            self.write_end(&change, &mut saved, name, record, after).await?;
        }
        // Before the effects: one of them may end the run, and what has ended is not changed any more.
        transaction.runs(&parts.tenant).advance(run.id, &serde_json::to_string(&saved)?).await?;
        for effect in effects {
            self.write_effect(&change, run, &saved, effect, after).await?;
        }
        if after.ended.is_none() {
            self.emit(transaction, "changed", run, None).await?;
        }
        Ok(())
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
        let after = Aftermath { has_stops: true, ended: Some(result), ..Aftermath::default() };
        self.commit(transaction, id, &after).await
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
        if let Some(report) = own {
            saved.layers.extend(report.layer.map(|layer| (name.to_owned(), layer)));
            if !report.stood_on.is_empty() {
                saved.base.clone_from(&report.stood_on);
            }
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
        saved: &Saved,
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
            Effect::CancelSetup { .. } | Effect::CancelGate { .. } => after.has_stops = true,
            // It ends together with the snapshot of what passed.
            Effect::EndRun { result: GateResult::Success } if saved.is_whole => {
                self.add_close(change.transaction, run.id, change.now).await?;
                after.has_work = true;
            }
            Effect::EndRun { result } => {
                self.end(change.transaction, run, result, None, after).await?;
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

    /// Gives a run its verdict, with the snapshot of what passed.
    pub(super) async fn end(
        &self,
        transaction: &Transaction,
        run: &Run,
        result: GateResult,
        approved: Option<SnapshotId>,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let runs = transaction.runs(&self.parts.tenant);
        if runs.end(run.id, result, approved, now).await? {
            self.emit(transaction, "ended", run, Some(result)).await?;
            after.ended = Some(result);
        }
        Ok(())
    }

    /// Tells whoever watches what was committed.
    pub(super) fn tell_all(&self, id: RunId, after: &Aftermath) {
        for event in &after.told {
            self.tell(id, event.clone());
        }
        if let Some(result) = after.ended {
            self.announce(id, result);
        }
    }

    /// Wakes whoever waits for what was committed.
    pub(super) fn wake(&self, after: &Aftermath) {
        self.parts.relay.notify_one();
        if after.has_stops {
            self.stops.notify_waiters();
        }
        if after.has_work {
            self.work.notify_waiters();
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
