//! The end of a run in which everything passed: a step of its own, so that the verdict and its snapshot are written together,
//! and another runner goes on with it when one is lost.

use sandgate_domain::{
    Completion, GateResult, Run, RunId, Step, StepId, StepKind, StepState, Timestamp,
};
use sandgate_engine::run::Outcome;
use sandgate_store::{Retry, Transaction};

use super::advance::Aftermath;
use super::{Inner, StepReport, rows};
use crate::error::Error;

/// The name of the step; it is shown nowhere.
const CLOSE: &str = "close";
/// How often it is tried to make the snapshot, before the verdict is given without one.
const ATTEMPTS: u32 = 5;

impl Inner {
    /// Lets a runner make the snapshot.
    pub(super) async fn add_close(
        &self,
        transaction: &Transaction,
        run: RunId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let step = Step {
            id: StepId::new(&*self.parts.ids),
            tenant: self.parts.tenant.clone(),
            run,
            name: CLOSE.to_owned(),
            kind: StepKind::Close,
            blocking: true,
            state: StepState::Ready,
            attempts: 0,
            infra_retries: 0,
            fence: 0,
            queued_at: now,
        };
        Ok(transaction.steps(&self.parts.tenant).add(&step).await?)
    }

    /// The snapshot is made: with it the run ends. If it is not, somebody tries again, until it was tried often enough:
    /// everything passed all the same.
    pub(super) async fn end_close(
        &self,
        transaction: &Transaction,
        run: &Run,
        step: &Step,
        report: &StepReport,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        let steps = transaction.steps(&self.parts.tenant);
        let now = self.parts.clock.now();
        let is_made = report.outcome == Outcome::Exited(0);
        if !is_made && step.attempts < ATTEMPTS {
            let reason = rows::describe(&report.outcome);
            tracing::warn!(run.id = %run.id, reason, "the approved snapshot of a run is tried again");
            steps.release(step.id, report.fence, Retry::Infra).await?;
            after.has_work = true;
            return Ok(());
        }
        let completion = if is_made {
            Completion { snapshot: report.snapshot, ..Completion::of(GateResult::Success) }
        } else {
            let reason = rows::describe(&report.outcome);
            tracing::error!(run.id = %run.id, reason, "a run ends without its approved snapshot");
            Completion::because(GateResult::Error, reason)
        };
        steps.complete(step.id, report.fence, &completion, now).await?;
        self.end(transaction, run, GateResult::Success, completion.snapshot, after).await
    }
}
