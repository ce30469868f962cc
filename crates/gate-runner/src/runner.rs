//! The loop: claim a step, execute it, report how it ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandgate_domain::{Clock, GateResult, RunId};
use sandgate_engine::run::Outcome;
use sandgate_integration_agent::{Agent, Assignment, StepReport};
use sandgate_node::GitProgram;
use sandgate_provider_gateway::Gateway;
use sandgate_snapshot_service::SnapshotService;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::prepare::{Checkout, Prepared, prepare};

/// How long to wait after the database refused.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long steps that are under way may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a runner works with.
#[derive(Clone)]
pub struct RunnerParts {
    /// Who hands out steps and takes results.
    pub agent: Agent,
    /// Who makes sandboxes.
    pub gateway: Gateway,
    /// Who knows layers and snapshots.
    pub snapshots: SnapshotService,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Reads the repositories of runs.
    pub git: GitProgram,
    /// The name of this runner.
    pub owner: String,
}

/// A gate runner. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    pub(crate) parts: RunnerParts,
    prepared: Arc<Mutex<HashMap<RunId, Arc<Prepared>>>>,
}

impl Runner {
    /// A runner that holds nothing yet.
    pub fn new(parts: RunnerParts) -> Self {
        Self { parts, prepared: Arc::default() }
    }

    /// Turns the files of a run into layers, before its steps can be claimed.
    ///
    /// # Errors
    /// If the files can't be read or written.
    pub async fn prepare(
        &self,
        run: RunId,
        checkout: Checkout,
        plan: &sandgate_engine::plan::Plan,
        tier: sandgate_domain::TrustTier,
    ) -> Result<Arc<Prepared>, Error> {
        let node = self.parts.gateway.node();
        let prepared = Arc::new(prepare(node, &self.parts.snapshots, checkout, plan, tier).await?);
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(run, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Lets go of a run that has ended.
    fn forget(&self, run: RunId) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// What was prepared of a run; prepared now, if its files can be read by anybody.
    pub(crate) async fn prepared(&self, assignment: &Assignment) -> Result<Arc<Prepared>, Error> {
        let run = assignment.run.id;
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned();
        if let Some(prepared) = known {
            return Ok(prepared);
        }
        let source = assignment.source.as_ref().ok_or(Error::NotPrepared)?;
        let checkout = Checkout::of(&self.parts.git, source).await?;
        self.prepare(run, checkout, &assignment.plan, assignment.tier).await
    }

    /// Works on up to `slots` steps at a time, of one run or of all, until `stop` is cancelled. Those under way then have a
    /// little time to end; after it they are stopped and handed back, for whoever serves next.
    pub async fn serve(&self, slots: usize, only: Option<RunId>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let leave = CancellationToken::new();
        for _ in 0..slots {
            let runner = self.clone();
            let (stop, leave) = (stop.clone(), leave.clone());
            tasks.spawn(async move { runner.work(only, &stop, &leave).await });
        }
        tasks.close();
        let grace = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = tasks.wait() => {}
            () = grace => {
                leave.cancel();
                tasks.wait().await;
            }
        }
    }

    async fn work(&self, only: Option<RunId>, stop: &CancellationToken, leave: &CancellationToken) {
        loop {
            let claimed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                claimed = self.parts.agent.claim(&self.parts.owner, only) => claimed,
            };
            let assignment = match claimed {
                Ok(assignment) => assignment,
                Err(error) => {
                    self.not_claimed(only, error).await;
                    continue;
                }
            };
            let run = assignment.run.id;
            if let Err(error) = self.perform(assignment, leave).await {
                let reason = format!("a step could not be reported: {}", error.chain());
                tracing::error!(reason, "a run is given up");
                self.parts.agent.give_up(run, &reason);
            }
        }
    }

    /// The database refuses. A run that only this process can go on with is given up; everything else waits for better times.
    async fn not_claimed(&self, only: Option<RunId>, error: sandgate_integration_agent::Error) {
        let error = Error::from(error).chain();
        tracing::error!(error, "a step could not be claimed");
        if let Some(run) = only {
            self.parts.agent.give_up(run, &format!("a step could not be claimed: {error}"));
        }
        tokio::time::sleep(BACKOFF).await;
    }

    /// Executes one step; what goes wrong on our side is an outcome, too.
    async fn perform(
        &self,
        mut assignment: Assignment,
        leave: &CancellationToken,
    ) -> Result<(), Error> {
        let unwanted = assignment.cancelled.clone();
        let stopped = unwanted.child_token();
        assignment.cancelled = stopped.clone();
        let assignment = &assignment;
        let leaving = async {
            leave.cancelled().await;
            stopped.cancel();
            std::future::pending().await
        };
        let executed = tokio::select! {
            executed = self.execute(assignment) => executed,
            () = self.parts.agent.keep(assignment.step, assignment.fence) => Err(Error::NotPrepared),
            error = leaving => Err(error),
        };
        let mut report = executed.unwrap_or_else(|error| self.our_fault(assignment, &error));
        let is_cancelled = matches!(report.outcome, Outcome::Cancelled { .. });
        if is_cancelled && leave.is_cancelled() && !unwanted.is_cancelled() {
            // It is still wanted: another attempt of the next start.
            report.outcome = Outcome::Infra { reason: "the server was stopped".to_owned() };
        }
        let report = report;
        let verdict = self.parts.agent.complete(assignment, &report).await?;
        if let Some(result) = verdict {
            self.close(assignment, result).await?;
        }
        Ok(())
    }

    /// A run has its verdict: a success of all gates makes an approved snapshot.
    async fn close(&self, assignment: &Assignment, result: GateResult) -> Result<(), Error> {
        sandgate_domain::fail_point::reached("run.ended");
        let run = assignment.run.id;
        let approved = match result {
            GateResult::Success => self.approve(assignment).await,
            GateResult::Failure
            | GateResult::Error
            | GateResult::Timeout
            | GateResult::Cancellation
            | GateResult::Skip => Ok(()),
        };
        self.parts.agent.announce(run, result);
        self.forget(run);
        approved?;
        self.remove_gate_layers(run).await
    }

    /// The files of gates in which others started are of no use when the run is over, unless a snapshot stands on them.
    async fn remove_gate_layers(&self, run: RunId) -> Result<(), Error> {
        let layers = self.parts.agent.gate_layers(run).await?;
        let forgotten = self.parts.snapshots.forget_unfindable(&layers).await?;
        let store = Arc::clone(self.parts.gateway.node().layers());
        let removing = sandgate_node::blocking(move || {
            forgotten.into_iter().try_for_each(|layer| store.delete(layer))
        });
        Ok(removing.await?)
    }

    fn our_fault(&self, assignment: &Assignment, error: &Error) -> StepReport {
        let reason = error.chain();
        tracing::warn!(run.id = %assignment.run.id, step.name = assignment.name, reason, "a step could not be run");
        StepReport {
            step: assignment.step,
            fence: assignment.fence,
            outcome: Outcome::Infra { reason },
            started_at: None,
            ended_at: self.parts.clock.now(),
            reports: None,
            note: None,
            layer: None,
            snapshot: None,
        }
    }
}
