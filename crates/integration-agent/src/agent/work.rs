//! The side that runners speak to: claim a step, hold it, report how it ended.

use std::time::Duration;

use sandgate_domain::{
    GateResult, LayerId, Run, RunId, SnapshotId, Step, StepId, StepKind, StepState, Timestamp,
    TrustTier,
};
use sandgate_engine::name::GateName;
use sandgate_engine::plan::{Plan, PlannedGate, PlannedSetup};
use sandgate_engine::run::{GateStatus, Input, Outcome, Phase};
use sandgate_store::Claim;
use tokio_util::sync::CancellationToken;

use super::advance::plan_of;
use super::{Agent, RunSource, SETUP, Saved, lock};
use crate::error::Error;
use crate::progress::Progress;
use crate::sink::LogSink;

/// How long a step is held without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often somebody who waits for work looks by himself.
const LOOK: Duration = Duration::from_secs(1);
/// How many steps are looked at.
const LOOKED_AT: u32 = 64;

/// A claimed step and all that is needed to do it.
pub struct Assignment {
    /// The run as it is written down.
    pub run: Run,
    /// Its plan.
    pub plan: Plan,
    /// How far its author is trusted.
    pub tier: TrustTier,
    /// Where its files are, unless the claimer has prepared them.
    pub source: Option<RunSource>,
    /// The step.
    pub step: StepId,
    /// Its name.
    pub name: String,
    /// What is done.
    pub task: Task,
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
    /// Takes the step that waits longest, of one run or of all; waits for one if there is none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn claim(&self, owner: &str, only: Option<RunId>) -> Result<Assignment, Error> {
        let parts = &self.inner.parts;
        loop {
            let work = self.inner.work.notified();
            tokio::pin!(work);
            work.as_mut().enable();
            let steps = parts.store.steps(&parts.tenant);
            for step in steps.claimable(parts.clock.now(), LOOKED_AT).await? {
                let is_wanted =
                    step.state == StepState::Ready && only.is_none_or(|only| step.run == only);
                if is_wanted
                    && (only.is_some() || self.is_for_anybody(step.run).await?)
                    && let Some(assignment) = self.take(&step, owner).await?
                {
                    return Ok(assignment);
                }
            }
            // The timeout is a safety net: another process may have made work.
            let _woken = tokio::time::timeout(LOOK, work).await;
        }
    }

    /// Whether any runner can get at the files of a run; those of a working tree are with the process that read them.
    async fn is_for_anybody(&self, run: RunId) -> Result<bool, Error> {
        let saved: Saved = serde_json::from_str(&self.run(run).await?.0.progress)?;
        Ok(saved.source.is_some())
    }

    async fn take(&self, step: &Step, owner: &str) -> Result<Option<Assignment>, Error> {
        let parts = &self.inner.parts;
        let steps = parts.store.steps(&parts.tenant);
        let claimed = steps.claim(step.id, owner, parts.clock.now(), LEASE).await?;
        let Some(claim) = claimed else { return Ok(None) };
        sandgate_domain::fail_point::reached("step.claimed");
        let (run, _) = self.run(step.run).await?;
        let assignment = self.assignment(run, step, &claim)?;
        let started = Progress::Started { step: step.name.clone(), attempt: assignment.attempt };
        self.inner.tell(step.run, started);
        Ok(Some(assignment))
    }

    fn assignment(&self, run: Run, step: &Step, claim: &Claim) -> Result<Assignment, Error> {
        let plan = plan_of(&run)?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        let gate = plan.gates.iter().find(|gate| gate.name.as_str() == step.name).cloned();
        let task = match (step.kind, gate, plan.environment.setup.clone()) {
            (StepKind::Gate, Some(gate), _) => Task::Gate(Box::new(gate)),
            (StepKind::Setup, _, Some(setup)) => Task::Setup(setup),
            (StepKind::Gate, None, _) | (StepKind::Setup, _, None) => {
                return Err(Error::NoRun(run.id));
            }
        };
        let from = match &task {
            Task::Gate(gate) => gate.from.as_ref().map(GateName::as_str),
            Task::Setup(_) => None,
        };
        let writer = self.inner.parts.logs.append(run.id, step.id);
        let writer = writer.map_err(|source| Error::Log { step: step.name.clone(), source })?;
        let watchers = self.inner.watched(run.id).progress;
        let cancelled = lock(&self.inner.cancelled).entry(step.id).or_default().clone();
        if is_stopping(&saved, &task) {
            // The order to stop was given in a process that has ended since.
            cancelled.cancel();
        }
        Ok(Assignment {
            step: step.id,
            name: step.name.clone(),
            attempt: attempt_of(&saved, &task).unwrap_or(claim.attempt),
            fence: claim.fence,
            from_layers: saved.chain(&plan, from),
            keep_files: is_kept(&plan, &step.name),
            cancelled,
            log: LogSink::new(step.name.clone(), writer, watchers),
            tier: saved.tier,
            source: saved.source,
            task,
            plan,
            run,
        })
    }

    /// Holds a step for longer, until the future is dropped.
    pub async fn keep(&self, step: StepId, fence: u64) {
        let parts = &self.inner.parts;
        let steps = parts.store.steps(&parts.tenant);
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = steps.renew(step, fence, parts.clock.now(), LEASE).await {
                tracing::warn!(step.id = %step, %error, "the lease of a step was not renewed");
            }
        }
    }

    /// The first instruction of a step's commands ran.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub async fn started(&self, assignment: &Assignment, at: Timestamp) -> Result<(), Error> {
        let parts = &self.inner.parts;
        let steps = parts.store.steps(&parts.tenant);
        steps.start(assignment.step, assignment.fence, at).await?;
        let Task::Gate(gate) = &assignment.task else { return Ok(()) };
        let input = Input::GateStarted { gate: gate.name.clone(), attempt: assignment.attempt };
        self.inner.apply(assignment.run.id, input, None).await?;
        Ok(())
    }

    /// An attempt ended, and nothing of it runs any more; the verdict, if that ended the run.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub async fn complete(
        &self,
        assignment: &Assignment,
        report: &StepReport,
    ) -> Result<Option<GateResult>, Error> {
        assignment.log.finish();
        lock(&self.inner.cancelled).remove(&assignment.step);
        let outcome = report.outcome.clone();
        let attempt = assignment.attempt;
        let input = match &assignment.task {
            Task::Setup(_) => Input::SetupEnded { attempt, outcome },
            Task::Gate(gate) => Input::GateEnded { gate: gate.name.clone(), attempt, outcome },
        };
        let verdict = self.inner.apply(assignment.run.id, input, Some(report)).await?;
        sandgate_domain::fail_point::reached("result.accepted");
        Ok(verdict)
    }

    /// The sealed layers of all gates of a run.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn gate_layers(&self, run: RunId) -> Result<Vec<LayerId>, Error> {
        let (run, _) = self.run(run).await?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        Ok(saved.layers.into_values().collect())
    }

    /// The sealed layers of a gate and of those that it started from, the lowest first, and whether the run is whole.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn kept(
        &self,
        run: RunId,
        gate: Option<&str>,
    ) -> Result<(Vec<LayerId>, bool), Error> {
        let (run, _) = self.run(run).await?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        Ok((saved.chain(&plan_of(&run)?, gate), saved.is_whole))
    }
}

/// The attempt that the state machine has started.
fn attempt_of(saved: &Saved, task: &Task) -> Option<u32> {
    match task {
        Task::Setup(_) => match saved.state.phase {
            Phase::Setup { attempt } => Some(attempt),
            Phase::Planned | Phase::Gates | Phase::Ended { .. } => None,
        },
        Task::Gate(gate) => match &saved.state.gate(&gate.name)?.status {
            GateStatus::Running(attempt) => Some(attempt.number),
            GateStatus::Waiting | GateStatus::Ended(_) => None,
        },
    }
}

/// Whether the state machine wants the step to stop, whoever runs it.
fn is_stopping(saved: &Saved, task: &Task) -> bool {
    match task {
        Task::Setup(_) => saved.state.cancelled.is_some(),
        Task::Gate(gate) => saved.state.gate(&gate.name).is_some_and(|gate| match &gate.status {
            GateStatus::Running(attempt) => attempt.stopping.is_some(),
            GateStatus::Waiting | GateStatus::Ended(_) => false,
        }),
    }
}

fn is_kept(plan: &Plan, name: &str) -> bool {
    let is = |gate: &GateName| gate.as_str() == name && name != SETUP;
    plan.gates.iter().filter_map(|gate| gate.from.as_ref()).any(is)
        || plan.approve_from.as_ref().is_some_and(is)
}
