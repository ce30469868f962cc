//! Runs that nobody drives any more: their process was killed, or the machine went down.
//!
//! Each run is held by a lock of the operating system from before it is written down until its process ends, so a run that
//! has not ended and can be held is nobody's. What its gates would have done is not known; they end as cancelled.

use sandgate_domain::{Completion, GateResult, RunId};

use super::{Agent, Inner};
use crate::error::Error;

/// How many runs are ended at a time; the next start goes on.
const ENDED_AT_ONCE: u32 = 1000;
/// What is said of a run whose process is gone.
const REASON: &str = "the process that drove this run ended before the run did";

impl Agent {
    /// Ends the runs whose process is gone; how many. Runs of living processes are left alone.
    ///
    /// # Errors
    /// If the database refuses, or a run can't be held.
    pub async fn end_abandoned(&self) -> Result<usize, Error> {
        let runs = self.inner.store.runs(&self.inner.tenant);
        let mut ended = 0;
        for run in runs.unfinished(ENDED_AT_ONCE).await? {
            let held = self.inner.logs.hold(run.id);
            let held = held.map_err(|source| Error::Hold { run: run.id, source })?;
            let Some(_hold) = held else { continue };
            self.inner.settle(run.id, GateResult::Cancellation, REASON).await?;
            tracing::info!(run.id = %run.id, "ended a run whose process is gone");
            ended += 1;
        }
        Ok(ended)
    }
}

impl Inner {
    /// Ends a run and all of its steps that have not ended.
    pub(super) async fn settle(
        &self,
        run: RunId,
        result: GateResult,
        reason: &str,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let completion = Completion::because(result, reason);
        self.store.steps(&self.tenant).settle_run(run, &completion, now).await?;
        self.store.runs(&self.tenant).end(run, result, None, now).await?;
        Ok(())
    }
}
