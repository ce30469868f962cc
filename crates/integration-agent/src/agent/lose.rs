//! A lost attempt: whoever held the step is gone. The state machine decides whether there is another one.

use sandgate_domain::{Step, StepId, StepKind};
use sandgate_engine::run::{Input, Outcome};

use super::advance::Aftermath;
use super::assignment::{find_gate, running_attempt};
use super::{Agent, Saved, StepReport};
use crate::error::Error;

impl Agent {
    /// Takes a step from its holder, if `is_lost` says so of the step as it is now.
    ///
    /// # Errors
    /// If the database refuses.
    pub(super) async fn lose(
        &self,
        step: StepId,
        is_lost: impl Fn(&Step) -> bool,
        reason: &str,
    ) -> Result<bool, Error> {
        let parts = &self.inner.parts;
        let transaction = parts.store.begin().await?;
        let Some(step) = transaction.steps(&parts.tenant).get(step).await? else {
            return Ok(false);
        };
        if !is_lost(&step) {
            return Ok(false);
        }
        let run = transaction.runs(&parts.tenant).get(step.run).await?;
        let run = run.ok_or(Error::NoRun(step.run))?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        let outcome = Outcome::Infra { reason: reason.to_owned() };
        let report = StepReport {
            step: step.id,
            fence: step.fence,
            outcome: outcome.clone(),
            started_at: step.state.started_at(),
            ended_at: parts.clock.now(),
            reports: None,
            note: None,
            layer: None,
            snapshot: None,
            stood_on: Vec::new(),
        };
        let mut after = Aftermath { has_stops: true, ..Aftermath::default() };
        if step.kind == StepKind::Close {
            self.inner.end_close(&transaction, &run, &step, &report, &mut after).await?;
        } else {
            let Some(input) = ended_input(&saved, &step, outcome) else { return Ok(false) };
            let inputs = vec![input];
            self.inner.advance(&transaction, &run, inputs, Some(&report), &mut after).await?;
        }
        self.inner.commit(transaction, run.id, &after).await?;
        Ok(true)
    }
}

/// What tells the state machine how the running attempt of a step ended; none if none is running.
pub(super) fn ended_input(saved: &Saved, step: &Step, outcome: Outcome) -> Option<Input> {
    let attempt = running_attempt(&saved.state, step)?;
    match step.kind {
        StepKind::Setup => Some(Input::SetupEnded { attempt, outcome }),
        StepKind::Gate => {
            let gate = find_gate(&saved.state, &step.name)?.name.clone();
            Some(Input::GateEnded { gate, attempt, outcome })
        }
        StepKind::Close => None,
    }
}
