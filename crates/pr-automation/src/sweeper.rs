//! Compares what was asked for with what is there: open heads against runs, and runs of older revisions against their end.
//!
//! Events only make it sooner. Unpublished events are the relay's, planned effects the writer's; both look by themselves.

use std::time::Duration;

use sandgate_domain::Timestamp;
use sandgate_store::StoredPullRequest;
use sandgate_wire::required_field;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::change::state_of;
use crate::decide::Activity;
use crate::error::log_retry;
use crate::service::Core;

const EVERY: Duration = Duration::from_secs(30);
/// A pull request that changed just now is in the hands of its event.
const FRESH: Duration = Duration::from_secs(20);
const BATCH: u32 = 200;

/// Sweeps at once and then again and again, until told to stop.
pub(crate) async fn run(core: &Core, stop: &CancellationToken) {
    let mut is_first = true;
    while !stop.is_cancelled() {
        // After a start nothing is in anybody's hands but the bus's.
        let fresh = if is_first { Duration::ZERO } else { FRESH };
        is_first = false;
        if let Err(error) = core.sweep(fresh).await {
            log_retry("sweep pull requests", &error);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Core {
    /// Looks at all pull requests about which something is left to be said, unless they changed within `fresh`.
    pub(crate) async fn sweep(&self, fresh: Duration) -> Result<(), Error> {
        let fresh = i64::try_from(fresh.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.now().as_micros().saturating_sub(fresh));
        let pulls = self.store.pull_requests(&self.settings.tenant);
        for pull in pulls.unsettled(before, BATCH).await? {
            self.sweep_one(&pull).await?;
        }
        Ok(())
    }

    async fn sweep_one(&self, pull: &StoredPullRequest) -> Result<(), Error> {
        let runs = self.runs_of(pull.id).await?;
        let is_left = runs
            .iter()
            .any(|run| u64::from(run.generation) < pull.revision && run.state != "ended");
        let newest = runs.iter().find(|run| u64::from(run.generation) == pull.revision);
        if let Some(run) = newest {
            let id = required_field("run.id", &run.id)?;
            if let Some(whole) = self.find_run(id).await? {
                self.show_run(&whole).await?;
            }
        }
        self.ask_again(pull, is_left, newest.is_none()).await
    }

    /// Says again what nobody did, if it is still wanted.
    async fn ask_again(
        &self,
        seen: &StoredPullRequest,
        is_left: bool,
        is_missing: bool,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let transaction = self.store.begin().await?;
        let pulls = transaction.pull_requests(&self.settings.tenant);
        let Some(mut pull) = pulls.get(seen.id).await? else { return Ok(()) };
        if pull.revision != seen.revision {
            return Ok(());
        }
        let state = state_of(&pull)?;
        let is_running = matches!(state.activity, Activity::Running { .. });
        let view = state.view().filter(|_| is_missing && is_running);
        if is_left {
            self.tell_superseded(&transaction, &pull, pull.revision, now).await?;
        }
        if let Some(view) = view.filter(|_| pull.answered_revision < pull.revision) {
            self.tell_again(&transaction, &pull, &view, now).await?;
        }
        if !is_running && !is_left {
            pull.is_settled = true;
            pulls.save(&pull).await?;
        }
        transaction.commit().await?;
        self.outgoing.notify_one();
        Ok(())
    }
}
