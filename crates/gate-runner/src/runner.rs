//! The loop: claim a step, execute it, report how it ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandgate_domain::{Clock, RunId};
use sandgate_engine::run::Outcome;
use sandgate_integration_agent::{Agent, Assignment, StepReport};
use sandgate_provider_gateway::Gateway;
use sandgate_snapshot_service::SnapshotService;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::prepare::{Checkout, Prepared, prepare};

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
    pub fn forget(&self, run: RunId) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    pub(crate) fn prepared(&self, run: RunId) -> Result<Arc<Prepared>, Error> {
        let all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&run).cloned().ok_or(Error::NotPrepared)
    }

    /// Works on up to `slots` steps at a time until `stop` is cancelled, and then waits for those under way.
    pub async fn serve(&self, slots: usize, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for _ in 0..slots {
            let runner = self.clone();
            let stop = stop.clone();
            tasks.spawn(async move { runner.work(&stop).await });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn work(&self, stop: &CancellationToken) {
        loop {
            let claimed = tokio::select! {
                () = stop.cancelled() => return,
                claimed = self.parts.agent.claim(&self.parts.owner) => claimed,
            };
            let assignment = match claimed {
                Ok(assignment) => assignment,
                Err(error) => {
                    let error = Error::from(error).chain();
                    tracing::error!(error, "a step could not be claimed");
                    continue;
                }
            };
            let run = assignment.run;
            if let Err(error) = self.perform(assignment).await {
                let reason = format!("a step could not be reported: {}", error.chain());
                tracing::error!(reason, "a run is given up");
                self.parts.agent.give_up(run, &reason);
            }
        }
    }

    /// Executes one step; what goes wrong on our side is an outcome, too.
    async fn perform(&self, assignment: Assignment) -> Result<(), Error> {
        let executed = tokio::select! {
            executed = self.execute(&assignment) => executed,
            () = self.parts.agent.keep(assignment.step, assignment.fence) => Err(Error::NotPrepared),
        };
        let report = executed.unwrap_or_else(|error| self.our_fault(&assignment, &error));
        self.parts.agent.complete(assignment, report).await?;
        Ok(())
    }

    fn our_fault(&self, assignment: &Assignment, error: &Error) -> StepReport {
        let reason = error.chain();
        tracing::warn!(step.name = assignment.name, reason, "a step could not be run");
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
