//! A bus in the store: for one machine, without another server.
//!
//! Every change goes through one writer, which commits all that waits at once: under load many messages share one flush of
//! the disk. Workers in this process are woken by a publication; those in other processes look again every second.

mod writer;

use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{Clock, Timestamp};
use sandgate_store::{EventLog, Lease, NewMessage, Operation, Outcome, Store, SubscriptionRow};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::message::{DeadLetter, Delivery, Message, Published, Subscription};
use crate::{Bus, Pending};
use writer::Writer;

/// How often a waiting fetch looks by itself: for messages of other processes, and for those whose lease ran out.
const POLL: Duration = Duration::from_secs(1);
/// How many rows are removed in one transaction, and in how many at most.
const PRUNING: u32 = 500;
const MAX_PRUNINGS: u32 = 100;

/// The bus in the store. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedBus {
    log: EventLog,
    clock: Arc<dyn Clock>,
    writer: Writer,
    /// Counts the changes that may have made a message available.
    changes: watch::Sender<u64>,
}

impl EmbeddedBus {
    /// A bus over the log of this store. Starts its writer on the current runtime; it ends when all clones are gone.
    pub fn start(store: &Store, clock: Arc<dyn Clock>) -> Self {
        let log = store.event_log();
        let changes = watch::Sender::new(0);
        let writer = Writer::start(log.clone(), Arc::clone(&clock));
        Self { log, clock, writer, changes }
    }

    /// Takes back what workers hold, so that it is delivered again at once; how many messages. For the start of the one
    /// process that has the store: all workers that there were are gone.
    pub async fn take_back(&self) -> Result<u64, Error> {
        let count = self.log.take_back(self.clock.now()).await?;
        self.wake();
        Ok(count)
    }

    /// Removes messages older than `retention`, read or not, and dead letters older than `dead_retention`; how many. A lot
    /// is removed in parts, so that nobody waits long for the database.
    pub async fn prune(&self, retention: Duration, dead_retention: Duration) -> Result<u64, Error> {
        let (before, dead_before) = (self.before(retention), self.before(dead_retention));
        let mut total = 0;
        for _ in 0..MAX_PRUNINGS {
            let events = self.log.prune(before, PRUNING).await?;
            let dead = self.log.forget_dead(dead_before, PRUNING).await?;
            total += events + dead;
            if events.max(dead) < u64::from(PRUNING) {
                break;
            }
        }
        Ok(total)
    }

    fn before(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.clock.now().as_micros().saturating_sub(age))
    }

    async fn fetch_now(&self, subscription: &str, limit: u32) -> Result<Vec<Delivery>, Error> {
        if !self.log.may_have(subscription, self.clock.now()).await? {
            return Ok(Vec::new());
        }
        let operation = Operation::Fetch { subscription: subscription.to_owned(), limit };
        let Outcome::Fetched(fetched) = self.writer.apply(operation).await? else {
            return Ok(Vec::new());
        };
        if fetched.died > 0 {
            tracing::warn!(subscription, count = fetched.died, "messages became dead letters");
        }
        let deliver = |stored| delivery(subscription, stored);
        Ok(fetched.messages.into_iter().map(deliver).collect())
    }

    async fn fetch_within(
        &self,
        subscription: &str,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let deadline = Instant::now() + wait;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let deliveries = self.fetch_now(subscription, limit).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            // Woken or not, look again: a wake-up is a hint.
            let woken = tokio::time::timeout(left.min(POLL), changes.changed()).await;
            if let Ok(Err(_)) = woken {
                return Err(Error::Closed);
            }
        }
    }

    async fn answer(&self, delivery: &Delivery, operation: Operation) -> Result<(), Error> {
        match self.writer.apply(operation).await? {
            Outcome::Stale => Err(Error::StaleLease {
                subscription: delivery.lease.subscription.clone(),
                seq: delivery.seq,
                number: delivery.number,
            }),
            Outcome::Done | Outcome::Published { .. } | Outcome::Fetched(_) => Ok(()),
        }
    }

    fn wake(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Bus for EmbeddedBus {
    fn publish<'a>(&'a self, message: &'a Message) -> Pending<'a, Published> {
        Box::pin(async move {
            let operation = Operation::Publish(stored_form(message));
            let outcome = self.writer.apply(operation).await?;
            self.wake();
            match outcome {
                Outcome::Published { seq, duplicate } => Ok(Published { seq, duplicate }),
                Outcome::Fetched(_) | Outcome::Done | Outcome::Stale => Err(Error::Closed),
            }
        })
    }

    fn subscribe<'a>(&'a self, subscription: &'a Subscription) -> Pending<'a, ()> {
        Box::pin(async move {
            let refuse = |problem| Error::Subscription { name: subscription.name.clone(), problem };
            if subscription.max_deliveries == 0 {
                return Err(refuse("a message needs at least one delivery"));
            }
            if subscription.lease.is_zero() {
                return Err(refuse("a worker needs some time"));
            }
            let row = SubscriptionRow {
                name: subscription.name.clone(),
                filters: subscription.filters.clone(),
                lease: subscription.lease,
                max_deliveries: subscription.max_deliveries,
            };
            Ok(self.log.subscribe(&row).await?)
        })
    }

    fn fetch<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
        wait: Duration,
    ) -> Pending<'a, Vec<Delivery>> {
        Box::pin(self.fetch_within(subscription, limit, wait))
    }

    fn ack<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()> {
        Box::pin(self.answer(delivery, Operation::Ack(delivery.lease.clone())))
    }

    fn nak<'a>(
        &'a self,
        delivery: &'a Delivery,
        delay: Duration,
        reason: &'a str,
    ) -> Pending<'a, ()> {
        Box::pin(async move {
            let (lease, reason) = (delivery.lease.clone(), reason.to_owned());
            self.answer(delivery, Operation::Nak { lease, delay, reason }).await?;
            self.wake();
            Ok(())
        })
    }

    fn extend<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()> {
        Box::pin(self.answer(delivery, Operation::Extend(delivery.lease.clone())))
    }

    fn terminate<'a>(&'a self, delivery: &'a Delivery, reason: &'a str) -> Pending<'a, ()> {
        let (lease, reason) = (delivery.lease.clone(), reason.to_owned());
        Box::pin(self.answer(delivery, Operation::Terminate { lease, reason }))
    }

    fn dead_letters<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
    ) -> Pending<'a, Vec<DeadLetter>> {
        Box::pin(async move {
            let letters = self.log.dead_letters(subscription, limit).await?;
            Ok(letters.into_iter().map(dead_letter).collect())
        })
    }
}

fn stored_form(message: &Message) -> NewMessage {
    NewMessage {
        tenant: message.tenant.clone(),
        subject: message.subject.clone(),
        message_id: message.id.clone(),
        headers: message.headers.clone(),
        body: message.body.clone(),
    }
}

fn message_of(stored: NewMessage) -> Message {
    Message {
        tenant: stored.tenant,
        subject: stored.subject,
        id: stored.message_id,
        headers: stored.headers,
        body: stored.body,
    }
}

fn delivery(subscription: &str, stored: sandgate_store::StoredMessage) -> Delivery {
    Delivery {
        seq: stored.seq,
        number: stored.delivery,
        lease: Lease {
            subscription: subscription.to_owned(),
            seq: stored.seq,
            delivery: stored.delivery,
        },
        message: message_of(stored.message),
    }
}

fn dead_letter(letter: sandgate_store::DeadLetter) -> DeadLetter {
    DeadLetter {
        seq: letter.stored.seq,
        deliveries: letter.stored.delivery,
        reason: letter.reason,
        message: message_of(letter.stored.message),
    }
}
