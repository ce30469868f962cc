//! Removes what nobody asks for any more, a little at a time, so that nobody waits long for the database.
//!
//! | what | kept for |
//! |---|---|
//! | the body of a delivery that was done with | 3 days |
//! | a delivery: its id, its meaning, what became of it | 35 days |
//! | an effect that was confirmed | 7 days |
//! | checks of a commit that is no head any more | 90 days |
//! | a published event | 24 hours |

use std::time::Duration;

use sandgate_domain::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::error::log_retry;
use crate::posting::commit_of;
use crate::service::{Core, NAME};

const EVERY: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const BODIES: Duration = Duration::from_secs(3 * DAY.as_secs());
const DELIVERIES: Duration = Duration::from_secs(35 * DAY.as_secs());
const EFFECTS: Duration = Duration::from_secs(7 * DAY.as_secs());
const POSTINGS: Duration = Duration::from_secs(90 * DAY.as_secs());
/// As long as the bus keeps events: what it has lost can be published again.
const EVENTS: Duration = DAY;
/// Rows that are removed in one transaction.
const BATCH: u32 = 200;
/// Transactions of each kind in one go; the rest comes next time.
const BATCHES: u32 = 50;

/// Tidies up at once and then again and again, until told to stop.
pub(crate) async fn run(core: &Core, stop: &CancellationToken) {
    let mut seen = String::new();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            tidied = core.tidy(&mut seen) => if let Err(error) = tidied {
                log_retry("remove what is old", &error);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Core {
    /// Removes what is old. `seen` is the commit at which the look at checks goes on.
    pub(crate) async fn tidy(&self, seen: &mut String) -> Result<(), Error> {
        let tenant = &self.settings.tenant;
        let (inbox, effects) = (self.store.inbox(tenant), self.store.effects(tenant));
        let outbox = self.store.outbox(NAME);
        let before = |age: Duration| {
            let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(self.clock.now().as_micros().saturating_sub(age))
        };
        for _ in 0..BATCHES {
            let removed = [
                inbox.drop_bodies(before(BODIES), BATCH).await?,
                inbox.forget(before(DELIVERIES), BATCH).await?,
                effects.forget(before(EFFECTS), BATCH).await?,
                outbox.prune(before(EVENTS), BATCH).await?,
            ];
            if removed.iter().all(|count| *count < u64::from(BATCH)) {
                break;
            }
        }
        self.tidy_checks(seen, before(POSTINGS)).await
    }

    /// Removes the checks of commits that are no heads any more.
    async fn tidy_checks(&self, seen: &mut String, before: Timestamp) -> Result<(), Error> {
        let postings = self.store.postings(&self.settings.tenant);
        let pulls = self.store.pull_requests(&self.settings.tenant);
        let targets = postings.old_targets(seen, before, BATCH).await?;
        // At the end it begins anew.
        *seen = targets.last().cloned().unwrap_or_default();
        for target in targets {
            let Some((repository, sha)) = commit_of(&target) else { continue };
            if !pulls.is_present_head(repository, sha).await? {
                postings.remove(&target, before).await?;
            }
        }
        Ok(())
    }
}
