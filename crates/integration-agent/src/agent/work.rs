//! Handing out steps: who claims gets those that wait longest, as many as there is room for.

use std::time::Duration;

use sandgate_domain::{Run, RunId, Step, StepKind, StepState};
use sandgate_engine::admission::{Room, UnderWay, admit, asks};
use sandgate_engine::plan::Plan;
use sandgate_store::{HandedOut, Repositories, Transaction};
use tokio::time::Instant;

use super::advance::plan_of;
use super::assignment::Assignment;
use super::{Agent, Inner, LOOK, Saved};
use crate::error::Error;
use crate::progress::Progress;

/// How long a step is held without a sign of life.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How many steps are looked at.
const LOOKED_AT: u32 = 64;
/// How many steps are handed out at once.
const AT_ONCE: usize = 8;
/// How long the plans in one reply may be together, in bytes; the first step always goes.
const PLAN_BYTES: usize = 1 << 20;

/// Who claims.
#[derive(Debug, Clone)]
pub(crate) struct Claimer {
    /// The name in the lease.
    pub(crate) owner: String,
    /// Only steps of this run, and ends of runs that nobody is at.
    pub(crate) only: Option<RunId>,
    /// What there is for steps.
    pub(crate) room: Room,
}

impl Claimer {
    /// Whether a step of this run is for this claimer: the files of a working tree are with the process that read them.
    pub(super) fn may_take(&self, run: RunId, is_committed: bool) -> bool {
        self.only.map_or(is_committed, |only| only == run)
    }
}

/// A step that may be handed out, and what is known of its run.
struct Candidate {
    step: Step,
    run: Run,
    saved: Saved,
    plan: Plan,
}

impl Agent {
    /// Takes the steps that wait longest, as many as there is room for; waits if there are none, at most for `wait`.
    ///
    /// # Errors
    /// If the database refuses.
    pub(crate) async fn claim(
        &self,
        claimer: &Claimer,
        wait: Duration,
    ) -> Result<Vec<Assignment>, Error> {
        let deadline = Instant::now() + wait;
        self.inner.runners.heard(claimer);
        loop {
            let work = self.inner.work.notified();
            tokio::pin!(work);
            work.as_mut().enable();
            self.lose_expired().await?;
            let taken = self.inner.take_ready(claimer).await?;
            if !taken.is_empty() {
                return Ok(self.inner.all_handed_out(taken));
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            let look = deadline.min(Instant::now() + LOOK);
            let mut given = self.inner.waiting.join(claimer);
            // While it waits in the queue: what becomes ready meanwhile is handed over at once.
            let idle = async {
                self.tell_waiting().await;
                tokio::time::sleep_until(look).await;
            };
            tokio::select! {
                biased;
                Ok(assignments) = &mut given => return Ok(assignments),
                () = work => {}
                () = idle => {}
            }
            given.close();
            // They may have come together with what woke us.
            if let Ok(assignments) = given.try_recv() {
                return Ok(assignments);
            }
        }
    }

    /// Takes the steps from holders that gave no sign of life.
    async fn lose_expired(&self) -> Result<(), Error> {
        let parts = &self.inner.parts;
        let now = parts.clock.now();
        let is_over = |step: &Step| match &step.state {
            StepState::Claimed { lease_until, .. } => *lease_until <= parts.clock.now(),
            StepState::Waiting | StepState::Ready | StepState::Ended { .. } => false,
        };
        for step in parts.store.steps(&parts.tenant).expired(now, LOOKED_AT).await? {
            let reason = "its runner gave no sign of life";
            if self.lose(step.id, is_over, reason).await? {
                tracing::warn!(step.id = %step.id, "the lease of a step is over; it is a lost attempt");
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Claims what is ready, in a transaction of its own if there is anything.
    async fn take_ready(&self, claimer: &Claimer) -> Result<Vec<Assignment>, Error> {
        let parts = &self.parts;
        let steps = parts.store.steps(&parts.tenant);
        let found = steps.claimable(parts.clock.now(), LOOKED_AT).await?;
        if !found.iter().any(|step| step.state == StepState::Ready) {
            return Ok(Vec::new());
        }
        let transaction = parts.store.begin().await?;
        let mut taken = Vec::new();
        self.take(&transaction, claimer, &mut taken).await?;
        if !taken.is_empty() {
            transaction.commit().await?;
        }
        Ok(taken)
    }

    /// Claims steps in a transaction, the oldest first, until there is no room for the oldest that is left. What was taken
    /// before something went wrong stays taken.
    pub(super) async fn take(
        &self,
        transaction: &Transaction,
        claimer: &Claimer,
        taken: &mut Vec<Assignment>,
    ) -> Result<(), Error> {
        let parts = &self.parts;
        let steps = transaction.steps(&parts.tenant);
        let mut room = claimer.room;
        let mut busy = None;
        let mut plan_bytes = 0;
        for step in self.ready_steps(transaction).await? {
            let is_close = step.kind == StepKind::Close;
            if claimer.only.is_some_and(|only| step.run != only) && !is_close {
                continue;
            }
            let Some(candidate) = self.candidate(transaction, step).await? else { continue };
            let Candidate { step, run, saved, plan } = candidate;
            if !is_close && !claimer.may_take(run.id, saved.source.is_some()) {
                continue;
            }
            plan_bytes += run.plan.len();
            if !taken.is_empty() && (taken.len() >= AT_ONCE || plan_bytes > PLAN_BYTES) {
                break;
            }
            let asked = asks(&plan, step.kind, &step.name);
            if !is_close {
                let under_way = match busy {
                    Some(known) => known,
                    None => under_way(&steps.handed_out(&claimer.owner).await?),
                };
                if admit(asked, &room, &under_way).is_err() {
                    break;
                }
                busy = Some(under_way.with(asked));
                room = room.after(asked);
            }
            let claim = steps.claim(step.id, &claimer.owner, parts.clock.now(), LEASE).await?;
            let Some(claim) = claim else { continue };
            if !is_close {
                steps.set_aside(step.id, claim.fence, asked).await?;
            }
            taken.push(Assignment::new(run, saved, &plan, &step, claim));
        }
        Ok(())
    }

    /// The steps that may be claimed, in the order in which they are handed out: what ends a run is short, and somebody waits
    /// for it; then the oldest.
    pub(super) async fn ready_steps(
        &self,
        repositories: &Repositories,
    ) -> Result<Vec<Step>, Error> {
        let parts = &self.parts;
        let steps = repositories.steps(&parts.tenant);
        let mut found = steps.claimable(parts.clock.now(), LOOKED_AT).await?;
        found.retain(|step| step.state == StepState::Ready);
        found.sort_by_key(|step| step.kind != StepKind::Close);
        Ok(found)
    }

    /// The step with its run; none if what is written of that can't be read: the others need not wait for it.
    async fn candidate(
        &self,
        repositories: &Repositories,
        step: Step,
    ) -> Result<Option<Candidate>, Error> {
        let run = repositories.runs(&self.parts.tenant).get(step.run).await?;
        let run = run.ok_or(Error::NoRun(step.run))?;
        match (serde_json::from_str(&run.progress), plan_of(&run)) {
            (Ok(saved), Ok(plan)) => Ok(Some(Candidate { step, run, saved, plan })),
            (Err(error), _) => {
                tracing::error!(run.id = %run.id, %error, "the progress of a run can't be read");
                Ok(None)
            }
            (_, Err(error)) => {
                let error = error.chain();
                tracing::error!(run.id = %run.id, error, "the plan of a run can't be read");
                Ok(None)
            }
        }
    }

    /// The claims are committed: logs are opened, and whoever watches is told.
    pub(super) fn all_handed_out(&self, assignments: Vec<Assignment>) -> Vec<Assignment> {
        assignments.into_iter().map(|assignment| self.handed_out(assignment)).collect()
    }

    fn handed_out(&self, mut assignment: Assignment) -> Assignment {
        sandgate_domain::fail_point::reached("step.claimed");
        if assignment.kind == StepKind::Close {
            return assignment;
        }
        assignment.log_offset = self.open_logs.begin(assignment.held(), &assignment.name);
        let started =
            Progress::Started { step: assignment.name.clone(), attempt: assignment.attempt };
        self.tell(assignment.run.id, started);
        assignment
    }
}

pub(super) fn under_way(handed_out: &HandedOut) -> UnderWay {
    let HandedOut { own, steps, share } = *handed_out;
    UnderWay { own, steps, share }
}
