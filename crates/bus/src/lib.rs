//! Events between services: at least once, in any order, as a wake-up. The database of each service is the truth.
//!
//! [`Bus`] says what every implementation promises, [`contract`] checks it. [`embedded`] keeps the log in the store.
//! [`subjects`] is the only place where a subject is put together, [`Relay`] publishes what services put into outboxes.

#[cfg(feature = "contract")]
pub mod contract;
pub mod embedded;
mod error;
mod message;
mod relay;
pub mod subjects;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use embedded::EmbeddedBus;
pub use error::Error;
pub use message::{DeadLetter, Delivery, Message, Published, Subscription};
pub use relay::Relay;

/// A future of a trait object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A bus.
///
/// An implementer promises: what `publish` has answered is delivered at least once to every subscription that matches; a
/// message id that was published before, within the retention, is not published again; each subscription hands a message
/// to one worker at a time, and again when the worker's lease ran out; after its maximum of deliveries a message becomes a
/// dead letter that says why; an answer under a lease that is not held any more is [`Error::StaleLease`] and changes
/// nothing. Order is usual and not promised.
pub trait Bus: Send + Sync {
    /// Adds a message; returns when it is kept.
    fn publish<'a>(&'a self, message: &'a Message) -> Pending<'a, Published>;

    /// Makes a subscription, or changes its settings. Its messages are kept from then on; workers share it by its name.
    fn subscribe<'a>(&'a self, subscription: &'a Subscription) -> Pending<'a, ()>;

    /// The next messages of a subscription, at most `limit`. Waits up to `wait` for the first; may return none.
    fn fetch<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
        wait: Duration,
    ) -> Pending<'a, Vec<Delivery>>;

    /// The message is done.
    fn ack<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()>;

    /// The message is to be delivered again, not before `delay` from now. On its last delivery it becomes a dead letter.
    fn nak<'a>(
        &'a self,
        delivery: &'a Delivery,
        delay: Duration,
        reason: &'a str,
    ) -> Pending<'a, ()>;

    /// The worker is still at it and needs another lease from now on.
    fn extend<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()>;

    /// The message can't be worked on: a dead letter at once.
    fn terminate<'a>(&'a self, delivery: &'a Delivery, reason: &'a str) -> Pending<'a, ()>;

    /// The dead letters of a subscription, the oldest first, at most `limit`.
    fn dead_letters<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
    ) -> Pending<'a, Vec<DeadLetter>>;
}
