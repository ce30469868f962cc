//! Handing out steps: who claims gets the one that waits longest.

use std::time::Duration;

use sandgate_domain::{RunId, Step, StepKind, StepState};
use sandgate_store::Repositories;
use tokio::time::Instant;

use super::assignment::Assignment;
use super::{Agent, Inner, LOOK, Saved};
use crate::error::Error;
use crate::progress::Progress;

/// How long a step is held without a sign of life.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How many steps are looked at.
const LOOKED_AT: u32 = 64;

/// Who claims.
#[derive(Debug, Clone)]
pub(crate) struct Claimer {
    /// The name in the lease.
    pub(crate) owner: String,
    /// Only steps of this run, and ends of runs that nobody is at.
    pub(crate) only: Option<RunId>,
}

impl Agent {
    /// Takes the step that waits longest; waits for one if there is none, at most for `wait`.
    ///
    /// # Errors
    /// If the database refuses.
    pub(crate) async fn claim(
        &self,
        claimer: &Claimer,
        wait: Duration,
    ) -> Result<Option<Assignment>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let work = self.inner.work.notified();
            tokio::pin!(work);
            work.as_mut().enable();
            self.lose_expired().await?;
            let repositories: &Repositories = &self.inner.parts.store;
            if let Some(assignment) = self.inner.take_next(repositories, claimer).await? {
                return Ok(Some(self.inner.handed_out(assignment)));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let look = deadline.min(Instant::now() + LOOK);
            let mut given = self.inner.waiting.join(claimer);
            tokio::select! {
                biased;
                Ok(assignment) = &mut given => return Ok(Some(assignment)),
                () = work => {}
                () = tokio::time::sleep_until(look) => {}
            }
            given.close();
            // It may have come together with what woke us.
            if let Ok(assignment) = given.try_recv() {
                return Ok(Some(assignment));
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
    /// Claims a step in the given transaction, or in one of its own.
    pub(super) async fn take_next(
        &self,
        repositories: &Repositories,
        claimer: &Claimer,
    ) -> Result<Option<Assignment>, Error> {
        let parts = &self.parts;
        let steps = repositories.steps(&parts.tenant);
        let mut found = steps.claimable(parts.clock.now(), LOOKED_AT).await?;
        // What ends a run is short, and somebody waits for it.
        found.sort_by_key(|step| step.kind != StepKind::Close);
        for step in found.iter().filter(|step| step.state == StepState::Ready) {
            let is_close = step.kind == StepKind::Close;
            if claimer.only.is_some_and(|only| step.run != only) && !is_close {
                continue;
            }
            let run = repositories.runs(&parts.tenant).get(step.run).await?;
            let run = run.ok_or(Error::NoRun(step.run))?;
            let saved = match serde_json::from_str::<Saved>(&run.progress) {
                Ok(saved) => saved,
                Err(error) => {
                    // The others need not wait for it.
                    tracing::error!(run.id = %run.id, %error, "the progress of a run can't be read");
                    continue;
                }
            };
            // The files of a working tree are with the process that read them.
            if claimer.only.is_none() && saved.source.is_none() && !is_close {
                continue;
            }
            let claim = steps.claim(step.id, &claimer.owner, parts.clock.now(), LEASE).await?;
            if let Some(claim) = claim {
                return Ok(Some(Assignment::new(run, saved, step, claim)?));
            }
        }
        Ok(None)
    }

    /// The claim is committed: its log is opened, and whoever watches is told.
    pub(super) fn handed_out(&self, mut assignment: Assignment) -> Assignment {
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
