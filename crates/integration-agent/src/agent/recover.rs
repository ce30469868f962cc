//! Going on after a crash: steps whose owner is gone are lost attempts, runs that nobody can go on with are ended.

use sandgate_domain::{
    GateResult, IsolationSummary, RunState as RowState, Step, StepKind, StepState,
};
use sandgate_engine::run::{GateStatus, Input, Outcome, Phase};

use super::{Agent, Saved, StepReport};
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
            let lost: Vec<&Step> =
                steps.iter().filter(|step| owner(step).is_some_and(&is_gone)).collect();
            if saved.source.is_none() {
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
            for step in lost {
                if self.lose(&saved, step).await? {
                    recovered.lost += 1;
                }
            }
        }
        Ok(recovered)
    }

    /// An attempt is lost: the state machine decides whether there is another one.
    async fn lose(&self, saved: &Saved, step: &Step) -> Result<bool, Error> {
        let outcome = Outcome::Infra { reason: "the process that ran it was killed".to_owned() };
        let input = match step.kind {
            StepKind::Setup => match saved.state.phase {
                Phase::Setup { attempt } => Input::SetupEnded { attempt, outcome: outcome.clone() },
                Phase::Planned | Phase::Gates | Phase::Ended { .. } => return Ok(false),
            },
            StepKind::Gate => {
                let gate = saved.state.gates.iter().find(|gate| gate.name.as_str() == step.name);
                let Some(gate) = gate else { return Ok(false) };
                let GateStatus::Running(attempt) = &gate.status else { return Ok(false) };
                Input::GateEnded {
                    gate: gate.name.clone(),
                    attempt: attempt.number,
                    outcome: outcome.clone(),
                }
            }
        };
        let report = StepReport {
            step: step.id,
            fence: step.fence,
            outcome,
            started_at: step.state.started_at(),
            ended_at: self.inner.parts.clock.now(),
            reports: None,
            note: None,
            layer: None,
            snapshot: None,
        };
        self.inner.apply(step.run, input, Some(&report)).await?;
        Ok(true)
    }
}

fn owner(step: &Step) -> Option<&str> {
    match &step.state {
        StepState::Claimed { owner, .. } => Some(owner),
        StepState::Waiting | StepState::Ready | StepState::Ended { .. } => None,
    }
}
