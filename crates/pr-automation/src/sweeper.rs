//! Compares what was asked for with what is there: open heads against runs, and runs of older revisions against their end.
//!
//! Events only make it sooner. Unpublished events are the relay's, planned effects the writer's; both look by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_domain::{PullRequestId, Timestamp};
use sandgate_store::StoredPullRequest;
use sandgate_wire::required_field;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::change::state_of;
use crate::decide::Activity;
use crate::error::log_retry;
use crate::service::Core;

const EVERY: Duration = Duration::from_secs(30);
/// A pull request that changed just now is in the hands of its event.
const FRESH: Duration = Duration::from_secs(20);
/// How many pull requests one sweep looks at. Who was looked at goes to the end of the line.
const BATCH: u32 = 200;
/// When a sweep begins nothing more; the others come next time.
const LONGEST: Duration = Duration::from_secs(15);
/// A run that was asked for again is in the hands of that event: longer than it is tried.
const FIRST_WAIT: Duration = Duration::from_secs(15 * 60);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// How many pull requests are remembered as having gone wrong.
const MOST_SAID: usize = 1000;

/// What was said last of each pull request that went wrong: the same is not said again.
pub(crate) type Said = BTreeMap<PullRequestId, String>;

/// Sweeps at once and then again and again, until told to stop. A sweep that has begun comes to its end.
pub(crate) async fn run(core: &Core, stop: &CancellationToken) {
    let mut is_first = true;
    let mut said = Said::new();
    loop {
        // After a start nothing is in anybody's hands but the bus's.
        let fresh = if is_first { Duration::ZERO } else { FRESH };
        is_first = false;
        if let Err(error) = core.sweep(fresh, &mut said).await {
            log_retry("sweep pull requests", &error);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Puts a pull request off that was asked for again, or can't be planned now: longer each time.
pub(crate) fn put_off(pull: &mut StoredPullRequest, now: Timestamp) {
    let doublings = pull.times_asked.min(16);
    pull.sweep_at = now.plus((FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT));
    pull.times_asked = pull.times_asked.saturating_add(1);
}

impl Core {
    /// Looks at pull requests about which something is left to be said, unless they changed within `fresh`. What goes wrong
    /// with one of them is said once, and keeps nobody from the others.
    pub(crate) async fn sweep(&self, fresh: Duration, said: &mut Said) -> Result<(), Error> {
        let start = Instant::now();
        let fresh = i64::try_from(fresh.as_micros()).unwrap_or(i64::MAX);
        let now = self.clock.now();
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(fresh));
        let pulls = self.store.pull_requests(&self.settings.tenant);
        for pull in pulls.unsettled(before, now, BATCH).await? {
            match self.sweep_one(&pull).await {
                Ok(()) => drop(said.remove(&pull.id)),
                Err(error) => say_once(said, &pull, &error),
            }
            pulls.look_again(pull.id, now).await?;
            if start.elapsed() > LONGEST {
                break;
            }
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
        let is_wanted = is_missing && is_running && pull.answered_revision < pull.revision;
        let view = state.view().filter(|_| is_wanted);
        if is_left {
            self.tell_superseded(&transaction, &pull, pull.revision, now).await?;
        }
        if let Some(view) = &view {
            self.tell_again(&transaction, &pull, view, now).await?;
        }
        if is_left || view.is_some() {
            put_off(&mut pull, now);
        }
        pull.is_settled |= !is_running && !is_left;
        pulls.save(&pull).await?;
        transaction.commit().await?;
        self.outgoing.notify_one();
        Ok(())
    }
}

fn say_once(said: &mut Said, pull: &StoredPullRequest, error: &Error) {
    let text = error.to_string();
    if said.get(&pull.id) == Some(&text) {
        return;
    }
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let (repository, number) = (&pull.repository, pull.number);
    tracing::warn!(pull.repository = %repository, pull.number = number, %error, cause,
        "a pull request could not be looked at; it is tried again");
    if said.len() < MOST_SAID {
        said.insert(pull.id, text);
    }
}
