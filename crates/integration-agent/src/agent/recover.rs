//! Going on after a crash: steps whose owner is gone are lost attempts, runs that nobody can go on with are ended.

use sandgate_domain::{GateResult, IsolationSummary, RunState as RowState, Step, StepState};
use sandgate_engine::run::Phase;

use super::{Agent, Saved};
use crate::error::Error;

/// What a recovery did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Attempts that count as lost.
    pub lost: usize,
    /// Runs that were ended, because their files were known to the lost process only.
    pub ended: usize,
}

impl Agent {
    /// Takes the steps from owners that are gone, and lets runs begin that were planned only. `is_gone` tells of the name of
    /// an owner.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn recover(
        &self,
        isolation: &IsolationSummary,
        is_gone: impl Fn(&str) -> bool,
    ) -> Result<Recovered, Error> {
        let parts = &self.inner.parts;
        let mut recovered = Recovered::default();
        for run in parts.store.runs(&parts.tenant).unfinished(10_000).await? {
            let saved: Saved = serde_json::from_str(&run.progress)?;
            let steps = parts.store.steps(&parts.tenant).of_run(run.id).await?;
            let is_lost = |step: &Step| owner(step).is_some_and(&is_gone);
            // Its end needs nothing that only the lost process knew.
            let close = parts.store.steps(&parts.tenant).closing(run.id).await?;
            if saved.source.is_none() && close.is_none() {
                // Only the process that asked for it could go on; its name is the key of the request.
                if run.request_key.as_deref().is_some_and(&is_gone) {
                    let reason = "the process that drove this run ended before the run did";
                    self.inner.end_all(run.id, GateResult::Cancellation, reason).await?;
                    recovered.ended += 1;
                }
                continue;
            }
            if run.state == RowState::Queued || saved.state.phase == Phase::Planned {
                self.begin(run.id, isolation).await?;
                continue;
            }
            for step in steps.iter().chain(&close).filter(|step| is_lost(step)) {
                if self.lose(step.id, is_lost, "the process that ran it was killed").await? {
                    recovered.lost += 1;
                }
            }
        }
        Ok(recovered)
    }
}

fn owner(step: &Step) -> Option<&str> {
    match &step.state {
        StepState::Claimed { owner, .. } => Some(owner),
        StepState::Waiting | StepState::Ready | StepState::Ended { .. } => None,
    }
}
