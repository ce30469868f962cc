//! Holding a step: its lease, the news that its commands run, and the order to stop.

use std::time::Duration;

use sandgate_domain::{Step, StepKind, StepState, Timestamp};
use sandgate_engine::run::Input;
use tokio::time::Instant;

use super::advance::Aftermath;
use super::assignment::{Held, find_gate, running_attempt, stop_reason};
use super::work::LEASE;
use super::{Agent, LOOK, Saved};
use crate::error::Error;

/// A lease with more than this left is not written again.
const FRESH: Duration = Duration::from_secs(20);

/// What a holder is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// Until when the step is held now.
    pub(crate) lease_until: Timestamp,
    /// Why it is not wanted any more.
    pub(crate) stop: Option<String>,
}

impl Agent {
    /// Holds a step for longer. Waits for an order to stop, at most for `wait`, and answers it at once.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub(crate) async fn renew(&self, held: Held, wait: Duration) -> Result<Renewed, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let stops = self.inner.stops.notified();
            tokio::pin!(stops);
            stops.as_mut().enable();
            let (step, mut lease_until) = self.holding(held).await?;
            let (run, _) = self.run(held.run).await?;
            let saved: Saved = serde_json::from_str(&run.progress)?;
            let stop = stop_reason(&saved.state, &step);
            let parts = &self.inner.parts;
            let now = parts.clock.now();
            if lease_until.since(now) < FRESH {
                let steps = parts.store.steps(&parts.tenant);
                lease_until = steps.renew(held.step, held.fence, now, LEASE).await?;
            }
            if stop.is_some() || Instant::now() >= deadline {
                return Ok(Renewed { lease_until, stop });
            }
            let look = deadline.min(Instant::now() + LOOK);
            let _woken = tokio::time::timeout_at(look, stops).await;
        }
    }

    /// The first instruction of a step's commands ran.
    ///
    /// # Errors
    /// If the claim is stale, or the database refuses.
    pub(crate) async fn started(&self, held: Held, at: Timestamp) -> Result<(), Error> {
        let parts = &self.inner.parts;
        let transaction = parts.store.begin().await?;
        let steps = transaction.steps(&parts.tenant);
        steps.start(held.step, held.fence, at).await?;
        let step = steps.get(held.step).await?.ok_or(Error::NoStep(held.step))?;
        let run = transaction.runs(&parts.tenant).get(held.run).await?;
        let run = run.ok_or(Error::NoRun(held.run))?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        let mut after = Aftermath::default();
        let inputs: Vec<Input> = started_input(&saved, &step).into_iter().collect();
        if !inputs.is_empty() {
            self.inner.advance(&transaction, &run, inputs, None, &mut after).await?;
        }
        self.inner.commit(transaction, held.run, &after).await?;
        Ok(())
    }

    /// The step under this claim, and until when it is held.
    ///
    /// # Errors
    /// If somebody else took it, or it has ended, or the database refuses.
    pub(crate) async fn holding(&self, held: Held) -> Result<(Step, Timestamp), Error> {
        let step = self.step(held.step).await?;
        match &step.state {
            StepState::Claimed { lease_until, .. } if step.fence == held.fence => {
                let lease_until = *lease_until;
                Ok((step, lease_until))
            }
            StepState::Waiting
            | StepState::Ready
            | StepState::Claimed { .. }
            | StepState::Ended { .. } => Err(held.is_stale()),
        }
    }
}

impl Held {
    /// That somebody else took the step, or that it has ended.
    pub(super) fn is_stale(self) -> Error {
        let what = self.step.to_string();
        Error::Store(sandgate_store::Error::StaleFence { what, fence: self.fence })
    }
}

/// What tells the state machine that the commands of a gate run.
pub(super) fn started_input(saved: &Saved, step: &Step) -> Option<Input> {
    if step.kind != StepKind::Gate {
        return None;
    }
    let gate = find_gate(&saved.state, &step.name)?.name.clone();
    let attempt = running_attempt(&saved.state, step)?;
    Some(Input::GateStarted { gate, attempt })
}
