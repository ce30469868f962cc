//! Publishes what a service put into its outbox, and notes it when the bus has acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use sandgate_domain::Clock;
use sandgate_store::Outbox;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Bus;
use crate::error::Error;
use crate::message::Message;

/// Events taken from the outbox at once.
const BATCH: u32 = 100;
/// How often the outbox is looked at by itself: for events of other processes, and after an error.
const POLL: Duration = Duration::from_secs(1);

/// The relay of one service.
pub struct Relay {
    outbox: Outbox,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
}

impl Relay {
    /// A relay from an outbox to a bus.
    pub fn new(outbox: Outbox, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) -> Self {
        Self { outbox, bus, clock, wake: Arc::new(Notify::new()) }
    }

    /// Notify it after a commit that put something into the outbox: it is published at once instead of within a second.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Publishes all that is in the outbox; how many. Killed in between, an event is published again under its id.
    pub async fn drain(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let waiting = self.outbox.unpublished(BATCH).await?;
            if waiting.is_empty() {
                return Ok(total);
            }
            let messages: Vec<Message> = waiting.iter().cloned().map(Message::from).collect();
            sandgate_domain::fail_point::reached("relay.taken");
            // At once, so that they may share a commit of the bus.
            try_join_all(messages.iter().map(|message| self.bus.publish(message))).await?;
            sandgate_domain::fail_point::reached("relay.published");
            self.outbox.mark_published(&waiting, self.clock.now()).await?;
            total += waiting.len() as u64;
        }
    }

    /// Publishes until told to stop, and what is left then.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.drain_or_log().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.drain_or_log().await;
    }

    async fn drain_or_log(&self) {
        if let Err(error) = self.drain().await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "events wait in the outbox; they are tried again");
        }
    }
}
