//! The end of an attempt: one accepted result, its consequences, and the next steps for the same runner, in one transaction.

use sandgate_domain::{GateResult, LayerId, Run, Step, StepKind, StepState};
use sandgate_store::Transaction;

use super::advance::Aftermath;
use super::assignment::{Assignment, Held, StepReport};
use super::hold::started_input;
use super::lose::ended_input;
use super::work::Claimer;
use super::{Agent, Saved};
use crate::error::Error;

/// What a runner is told about its report.
#[derive(Debug)]
pub(crate) struct Completed {
    /// Whether it is this report that counts; else the same was reported before.
    pub(crate) is_first: bool,
    /// The verdict, if the run has ended.
    pub(crate) verdict: Option<GateResult>,
    /// If it has: the layers of gates that were kept for others.
    pub(crate) gate_layers: Vec<LayerId>,
    /// The next steps.
    pub(crate) next: Vec<Assignment>,
}

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Held,
    Reported,
}

impl Agent {
    /// An attempt ended, and nothing of it runs any more; `log_end` is where its log ends. Told again, nothing changes.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub(crate) async fn complete(
        &self,
        held: Held,
        report: StepReport,
        log_end: u64,
        next: Option<&Claimer>,
    ) -> Result<Completed, Error> {
        let step = self.step(held.step).await?;
        if standing(&step, held)? == Standing::Held && step.kind != StepKind::Close {
            // On the disk before the result is.
            self.inner.open_logs.finish(held, &step.name, log_end).await;
        }
        let parts = &self.inner.parts;
        let transaction = parts.store.begin().await?;
        let step = transaction.steps(&parts.tenant).get(held.step).await?;
        let step = step.ok_or(Error::NoStep(held.step))?;
        let run = transaction.runs(&parts.tenant).get(held.run).await?;
        let run = run.ok_or(Error::NoRun(held.run))?;
        let mut after = Aftermath::default();
        let is_first = standing(&step, held)? == Standing::Held;
        if is_first {
            self.accept(&transaction, &run, &step, &report, &mut after).await?;
        }
        let assignments = match next {
            Some(claimer) => {
                self.inner.runners.heard(claimer);
                self.inner.take_along(&transaction, claimer).await
            }
            None => Vec::new(),
        };
        self.inner.commit(transaction, held.run, &after).await?;
        sandgate_domain::fail_point::reached("result.accepted");
        let verdict = after.ended.or(run.state.result());
        let gate_layers = match verdict {
            Some(_) => self.gate_layers(held).await?,
            None => Vec::new(),
        };
        let next = self.inner.all_handed_out(assignments);
        Ok(Completed { is_first, verdict, gate_layers, next })
    }

    async fn accept(
        &self,
        transaction: &Transaction,
        run: &Run,
        step: &Step,
        report: &StepReport,
        after: &mut Aftermath,
    ) -> Result<(), Error> {
        if step.kind == StepKind::Close {
            return self.inner.end_close(transaction, run, step, report, after).await;
        }
        let mut inputs = Vec::new();
        let saved: Saved = serde_json::from_str(&run.progress)?;
        if let Some(at) = report.started_at
            && step.state.started_at().is_none()
        {
            // It ended before its start was told.
            let steps = transaction.steps(&self.inner.parts.tenant);
            steps.start(step.id, report.fence, at).await?;
            inputs.extend(started_input(&saved, step));
        }
        let ended = ended_input(&saved, step, report.outcome.clone());
        inputs.push(ended.ok_or(Error::NoStep(step.id))?);
        self.inner.advance(transaction, run, inputs, Some(report), after).await
    }

    async fn gate_layers(&self, held: Held) -> Result<Vec<LayerId>, Error> {
        let (run, _) = self.run(held.run).await?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        Ok(saved.layers.into_values().collect())
    }
}

/// Whether a step is held under this claim, or its result under this claim was taken.
fn standing(step: &Step, held: Held) -> Result<Standing, Error> {
    if step.fence != held.fence || step.run != held.run {
        return Err(held.is_stale());
    }
    match &step.state {
        StepState::Claimed { .. } => Ok(Standing::Held),
        // Ended by the report, or to be tried again because of it: every other end has another fence.
        StepState::Ended { .. } | StepState::Ready => Ok(Standing::Reported),
        StepState::Waiting => Err(held.is_stale()),
    }
}
