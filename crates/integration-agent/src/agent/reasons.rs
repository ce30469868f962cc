//! Why steps have not begun, as it is now. The texts are those of the decision.

use std::collections::{HashMap, HashSet};

use sandgate_domain::{Run, RunId, Step, StepId, StepKind, StepState};
use sandgate_engine::admission::{Waiting, admit, asks};
use sandgate_store::Repositories;

use super::advance::plan_of;
use super::work::{Claimer, under_way};
use super::{Agent, SETUP, Saved, lock};
use crate::error::Error;
use crate::progress::Progress;

/// A ready step and why it waits.
struct ReadyStep {
    step: StepId,
    run: RunId,
    name: String,
    reason: String,
    /// Whether it is the next to start.
    is_oldest: bool,
}

impl Agent {
    /// Why each step that is ready has not begun.
    ///
    /// # Errors
    /// If the database refuses.
    pub(crate) async fn reasons(&self) -> Result<HashMap<StepId, String>, Error> {
        let ready = self.ready().await?;
        Ok(ready.into_iter().map(|ready| (ready.step, ready.reason)).collect())
    }

    async fn ready(&self) -> Result<Vec<ReadyStep>, Error> {
        let parts = &self.inner.parts;
        let repositories: &Repositories = &parts.store;
        let mut ready = Vec::new();
        let mut known: HashMap<RunId, Option<Claimer>> = HashMap::new();
        let mut before: HashMap<(String, Option<RunId>), usize> = HashMap::new();
        for step in self.inner.ready_steps(repositories).await? {
            if step.kind == StepKind::Close {
                continue;
            }
            let claimer = match known.get(&step.run) {
                Some(claimer) => claimer.clone(),
                None => {
                    let claimer = self.runner_for(step.run).await?;
                    known.entry(step.run).or_insert(claimer).clone()
                }
            };
            let mut ahead = 0;
            let reason = match claimer {
                None => Waiting::NoRunner.to_string(),
                Some(claimer) => {
                    let place = before.entry((claimer.owner.clone(), claimer.only)).or_default();
                    ahead = *place;
                    *place += 1;
                    match ahead {
                        0 => self.shortage(&claimer, &step).await?,
                        _ => Waiting::Behind(ahead).to_string(),
                    }
                }
            };
            let (run, is_oldest) = (step.run, ahead == 0);
            ready.push(ReadyStep { step: step.id, run, name: step.name, reason, is_oldest });
        }
        Ok(ready)
    }

    /// Who would take steps of a run.
    async fn runner_for(&self, run: RunId) -> Result<Option<Claimer>, Error> {
        let (row, _) = self.run(run).await?;
        let saved: Saved = serde_json::from_str(&row.progress)?;
        Ok(self.inner.runners.of(run, saved.source.is_some()))
    }

    /// What the oldest step of a runner waits for.
    async fn shortage(&self, claimer: &Claimer, step: &Step) -> Result<String, Error> {
        let parts = &self.inner.parts;
        let (run, _) = self.run(step.run).await?;
        let handed_out = parts.store.steps(&parts.tenant).handed_out(&claimer.owner).await?;
        let asked = asks(&plan_of(&run)?, step.kind, &step.name);
        let waiting = match admit(asked, &claimer.room, &under_way(&handed_out)) {
            Ok(()) => Waiting::Next,
            Err(shortage) => Waiting::Short(shortage),
        };
        Ok(waiting.to_string())
    }

    /// Tells whoever watches why steps wait, where that is not what was told before.
    pub(super) async fn tell_waiting(&self) {
        if lock(&self.inner.watched).is_empty() {
            return;
        }
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(error) => {
                tracing::warn!(error = error.chain(), "nobody is told why steps wait");
                return;
            }
        };
        let known: HashSet<StepId> = ready.iter().map(|ready| ready.step).collect();
        let mut told = lock(&self.inner.told);
        told.retain(|step, _| known.contains(step));
        for ReadyStep { step, run, name, reason, is_oldest } in ready {
            if told.get(&step) != Some(&reason) {
                told.insert(step, reason.clone());
                self.inner.tell(run, Progress::Waits { step: name, reason, is_oldest });
            }
        }
    }
}

/// Which steps one waits for that is not ready: those of its run that it needs and that have not ended.
pub(crate) fn needed(run: &Run, step: &Step, all: &[Step]) -> String {
    let is_open = |step: &&Step| !matches!(step.state, StepState::Ended { .. });
    let open: Vec<&Step> = all.iter().filter(is_open).collect();
    if step.kind == StepKind::Gate && open.iter().any(|step| step.kind == StepKind::Setup) {
        return Waiting::For(&[SETUP]).to_string();
    }
    let plan = plan_of(run).ok();
    let gate =
        plan.iter().flat_map(|plan| &plan.gates).find(|gate| gate.name.as_str() == step.name);
    let needs = |other: &&&Step| {
        let named = |needed: &sandgate_engine::GateName| needed.as_str() == other.name;
        gate.is_some_and(|gate| gate.needs.iter().chain(&gate.from).any(named))
    };
    let names: Vec<&str> = open.iter().filter(needs).map(|step| step.name.as_str()).collect();
    Waiting::For(&names).to_string()
}
