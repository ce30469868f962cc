//! The side that runners speak to: claim a step, hold it, report how it ended.

use std::time::Duration;

use sandgate_domain::{LayerId, RunId, SnapshotId, StepId, Timestamp};
use sandgate_engine::name::GateName;
use sandgate_engine::plan::{PlannedGate, PlannedSetup};
use sandgate_engine::run::{Input, Outcome};
use sandgate_store::{Claim, Retry};
use tokio_util::sync::CancellationToken;

use super::{ActiveRun, Agent, Inner, NewRun, SETUP, StepHandle, lock};
use crate::error::Error;
use crate::progress::Progress;
use crate::sink::LogSink;

/// How long a step is held without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);

/// A claimed step and all that is needed to do it.
pub struct Assignment {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// Its name.
    pub name: String,
    /// What is done.
    pub task: Task,
    /// The run as it was asked for.
    pub new: NewRun,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Goes with everything that is reported.
    pub fence: u64,
    /// The sealed layers that it starts from, above the commit, the lowest first.
    pub from_layers: Vec<LayerId>,
    /// Whether its files are kept even if it passes: other gates start in them, or they are approved.
    pub keep_files: bool,
    /// Cancelled when the step is no longer wanted.
    pub cancelled: CancellationToken,
    /// Where its output goes.
    pub log: LogSink,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Task {
    /// Installs what the gates need.
    Setup(PlannedSetup),
    /// Runs a gate.
    Gate(Box<PlannedGate>),
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The step.
    pub step: StepId,
    /// The fence of the claim.
    pub fence: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When the first instruction of its commands ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Counts and failures of its report files, as JSON.
    pub reports: Option<String>,
    /// A remark for people, such as that a setup was found in the cache.
    pub note: Option<String>,
    /// The layer with its files, if they were kept.
    pub layer: Option<LayerId>,
    /// The snapshot that was made of it.
    pub snapshot: Option<SnapshotId>,
}

impl Agent {
    /// Takes the step that waits longest, and waits for one if there is none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn claim(&self, owner: &str) -> Result<Assignment, Error> {
        loop {
            let work = self.inner.work.notified();
            let next = lock(&self.inner.ready).pop_front();
            let Some((run, step)) = next else {
                work.await;
                continue;
            };
            let Ok(active) = self.active(run) else { continue };
            match self.take(&active, step, owner).await {
                Ok(Some(assignment)) => return Ok(assignment),
                Ok(None) => {}
                Err(error) => {
                    // The step is out of the queue, and nobody would put it back.
                    self.give_up(run, &format!("a step could not be claimed: {error}"));
                    return Err(error);
                }
            }
        }
    }

    async fn take(
        &self,
        run: &ActiveRun,
        step: StepId,
        owner: &str,
    ) -> Result<Option<Assignment>, Error> {
        let steps = self.inner.store.steps(&self.inner.tenant);
        let now = self.inner.clock.now();
        let Some(claim) = steps.claim(step, owner, now, LEASE).await? else { return Ok(None) };
        let Some(handle) = run.steps.iter().find(|handle| handle.id == step) else {
            return Ok(None);
        };
        run.tell(Progress::Started { step: handle.name.clone(), attempt: claim.attempt });
        self.assignment(run, handle, &claim).map(Some)
    }

    fn assignment(
        &self,
        run: &ActiveRun,
        handle: &StepHandle,
        claim: &Claim,
    ) -> Result<Assignment, Error> {
        let writer = self.inner.logs.append(run.id, handle.id);
        let writer = writer.map_err(|source| Error::Log { step: handle.name.clone(), source })?;
        let plan = &run.new.plan;
        let gate = plan.gates.iter().find(|gate| gate.name.as_str() == handle.name);
        let setup = plan.environment.setup.as_ref().filter(|_| handle.name == SETUP);
        let task = match (gate, setup) {
            (Some(gate), None) => Task::Gate(Box::new(gate.clone())),
            (_, Some(setup)) => Task::Setup(setup.clone()),
            (None, None) => return Err(Error::NotRunning(run.id)),
        };
        let from = gate.and_then(|gate| gate.from.as_ref()).map(GateName::as_str);
        let is_started_from = plan
            .gates
            .iter()
            .any(|other| other.from.as_ref().is_some_and(|from| from.as_str() == handle.name));
        let is_approved =
            plan.approve_from.as_ref().is_some_and(|gate| gate.as_str() == handle.name);
        Ok(Assignment {
            run: run.id,
            step: handle.id,
            name: handle.name.clone(),
            task,
            new: run.new.clone(),
            attempt: claim.attempt,
            fence: claim.fence,
            from_layers: run.chain(from),
            keep_files: is_started_from || is_approved,
            cancelled: lock(&handle.cancelled).clone(),
            log: LogSink::new(handle.name.clone(), writer, run.watchers.clone()),
        })
    }

    /// Holds a step for longer, until the future is dropped.
    pub async fn keep(&self, step: StepId, fence: u64) {
        let steps = self.inner.store.steps(&self.inner.tenant);
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = steps.renew(step, fence, self.inner.clock.now(), LEASE).await {
                tracing::warn!(step.id = %step, %error, "the lease of a step was not renewed");
            }
        }
    }

    /// The first instruction of a step's commands ran.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub async fn started(&self, assignment: &Assignment, at: Timestamp) -> Result<(), Error> {
        let steps = self.inner.store.steps(&self.inner.tenant);
        steps.start(assignment.step, assignment.fence, at).await?;
        let Task::Gate(gate) = &assignment.task else { return Ok(()) };
        let active = self.active(assignment.run)?;
        let input = Input::GateStarted { gate: gate.name.clone(), attempt: assignment.attempt };
        self.apply(&active, input, None).await
    }

    /// An attempt ended, and nothing of it runs any more.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub async fn complete(&self, assignment: Assignment, report: StepReport) -> Result<(), Error> {
        assignment.log.finish();
        let active = self.active(assignment.run)?;
        let outcome = report.outcome.clone();
        let attempt = assignment.attempt;
        let input = match &assignment.task {
            Task::Setup(_) => Input::SetupEnded { attempt, outcome },
            Task::Gate(gate) => Input::GateEnded { gate: gate.name.clone(), attempt, outcome },
        };
        self.apply(&active, input, Some(&report)).await
    }
}

impl Inner {
    /// A step may be claimed: for the first time, or again after an attempt that does not count.
    pub(super) async fn enqueue(
        &self,
        run: &ActiveRun,
        name: &str,
        attempt: u32,
        report: Option<&StepReport>,
    ) -> Result<(), Error> {
        let Some(step) = run.step(name) else { return Err(Error::NotRunning(run.id)) };
        let steps = self.store.steps(&self.tenant);
        match report.filter(|report| report.step == step.id && attempt > 1) {
            None => {
                steps.ready(step.id).await?;
                run.tell(Progress::Queued { step: name.to_owned() });
            }
            Some(report) => {
                let is_ours = matches!(report.outcome, Outcome::Infra { .. });
                let retry = if is_ours { Retry::Infra } else { Retry::Gate };
                let reason = describe(&report.outcome);
                steps.release(step.id, report.fence, retry).await?;
                run.tell(Progress::Retried { step: name.to_owned(), reason });
            }
        }
        *lock(&step.cancelled) = CancellationToken::new();
        lock(&self.ready).push_back((run.id, step.id));
        self.work.notify_one();
        Ok(())
    }
}

/// Why an attempt is made again, for people.
fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(code) => format!("it ended with status {code}"),
        Outcome::Signaled(signal) => format!("it was ended by signal {signal}"),
        Outcome::TimedOut => "it took too long".to_owned(),
        Outcome::LimitBroken { limit } => format!("it broke its {limit} limit"),
        Outcome::Infra { reason } | Outcome::Cancelled { reason } => reason.clone(),
    }
}
