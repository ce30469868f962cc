//! The log of the embedded bus: events in one order, a position for each subscription, and a row for each message only
//! while it is in somebody's hands or waits to be tried again.

mod deliveries;
mod filter;
mod publish;
mod subscriptions;

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_domain::{TenantId, Timestamp};

use crate::error::{Error, while_doing};
use crate::session::Session;

/// The log.
#[derive(Debug, Clone)]
pub struct EventLog {
    session: Session,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about: words separated by dots.
    pub subject: String,
    /// Its id; published again, it is not published twice as long as the log keeps it.
    pub message_id: String,
    /// Headers, such as the trace context.
    pub headers: BTreeMap<String, String>,
    /// The content, as text.
    pub body: String,
}

/// A message as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the log.
    pub seq: u64,
    /// What was published.
    pub message: NewMessage,
    /// The number of this delivery, from 1. It is the fence of the lease: a later delivery makes it stale.
    pub delivery: u32,
}

/// A subscription: gets every message that its filters match, each in one worker's hands at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// Its name; all workers of one service share it.
    pub name: String,
    /// Subjects, where `*` is any one word and a last `>` any rest.
    pub filters: Vec<String>,
    /// How long a worker has, if it does not extend it.
    pub lease: Duration,
    /// How many deliveries a message gets before it is a dead letter.
    pub max_deliveries: u32,
}

/// One change of the log. Several are applied in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Adds a message.
    Publish(NewMessage),
    /// Hands out the next messages of a subscription.
    Fetch {
        /// Which.
        subscription: String,
        /// How many at most.
        limit: u32,
    },
    /// The message is done.
    Ack(Lease),
    /// The message is to be delivered again after `delay`, or is a dead letter if it had its deliveries.
    Nak {
        /// Which.
        lease: Lease,
        /// How long to wait.
        delay: Duration,
        /// Why.
        reason: String,
    },
    /// The worker needs another lease.
    Extend(Lease),
    /// The message is a dead letter.
    Terminate {
        /// Which.
        lease: Lease,
        /// Why.
        reason: String,
    },
}

/// A message in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Of which subscription.
    pub subscription: String,
    /// Its place in the log.
    pub seq: u64,
    /// The number of the delivery.
    pub delivery: u32,
}

/// What became of an [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has this place in the log.
    Published {
        /// The place.
        seq: u64,
        /// Whether it had it before.
        duplicate: bool,
    },
    /// The messages handed out.
    Fetched(Fetched),
    /// Done.
    Done,
    /// The lease is not held any more: nothing was changed.
    Stale,
}

/// The messages handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// In the order of the log, those tried again first.
    pub messages: Vec<StoredMessage>,
    /// How many had had their deliveries and became dead letters instead.
    pub died: u32,
}

/// A message that will not be delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message, with the number of its last delivery.
    pub stored: StoredMessage,
    /// Why.
    pub reason: String,
    /// Since when.
    pub died_at: Timestamp,
}

impl EventLog {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Applies all operations in one commit, in order; an outcome each.
    pub async fn apply(
        &self,
        operations: &[Operation],
        now: Timestamp,
    ) -> Result<Vec<Outcome>, Error> {
        const DOING: &str = "changing the event log";
        let mut transaction = self.session.write(DOING).await?;
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let outcome = match operation {
                Operation::Publish(message) => {
                    publish::publish(&mut transaction, message, now).await?
                }
                Operation::Fetch { subscription, limit } => {
                    deliveries::fetch(&mut transaction, subscription, *limit, now).await?
                }
                Operation::Ack(lease) => deliveries::ack(&mut transaction, lease).await?,
                Operation::Nak { lease, delay, reason } => {
                    deliveries::nak(&mut transaction, lease, *delay, reason, now).await?
                }
                Operation::Extend(lease) => {
                    deliveries::extend(&mut transaction, lease, now).await?
                }
                Operation::Terminate { lease, reason } => {
                    deliveries::terminate(&mut transaction, lease, reason, now).await?
                }
            };
            outcomes.push(outcome);
        }
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(outcomes)
    }

    /// Whoever held messages is gone: they are due at once, of all subscriptions; how many.
    pub async fn take_back(&self, now: Timestamp) -> Result<u64, Error> {
        const DOING: &str = "taking messages back";
        let mut transaction = self.session.write(DOING).await?;
        let changed =
            sqlx::query("UPDATE bus_deliveries SET is_leased = 0, due_at = $1 WHERE is_leased = 1")
                .bind(now.as_micros())
                .execute(&mut *transaction)
                .await
                .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected())
    }

    /// Removes messages published before `before` that are in nobody's hands, read or not; how many, at most `limit`.
    pub async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM bus_events WHERE seq IN \
            (SELECT seq FROM bus_events WHERE published_at < $1 AND NOT EXISTS \
            (SELECT 1 FROM bus_deliveries WHERE bus_deliveries.seq = bus_events.seq) \
            ORDER BY published_at LIMIT $2)";
        self.remove(SQL, before, limit).await
    }

    /// Forgets dead letters that died before `before`, of all subscriptions; how many, at most `limit`.
    pub async fn forget_dead(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM bus_dead_letters WHERE (subscription, seq) IN \
            (SELECT subscription, seq FROM bus_dead_letters WHERE died_at < $1 \
            ORDER BY died_at LIMIT $2)";
        self.remove(SQL, before, limit).await
    }

    async fn remove(&self, sql: &'static str, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const DOING: &str = "pruning the event log";
        let mut transaction = self.session.write(DOING).await?;
        let deleted = sqlx::query(sql)
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected())
    }
}
