//! What goes over a bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{Event, TenantId};
use sandgate_store::{Lease, OutboxMessage};

use crate::error::Error;
use crate::subjects;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about; see [`subjects`].
    pub subject: String,
    /// Its id: for an event, the event's.
    pub id: String,
    /// Headers, such as the trace context.
    pub headers: BTreeMap<String, String>,
    /// The content, as text: for an event, the envelope as JSON.
    pub body: String,
}

impl Message {
    /// The event as a message of the outbox of a service.
    pub fn outgoing(
        event: &Event,
        headers: BTreeMap<String, String>,
    ) -> Result<OutboxMessage, Error> {
        Ok(OutboxMessage {
            event_id: event.id,
            tenant: event.tenant.clone(),
            subject: subjects::of(event),
            headers,
            body: serde_json::to_string(event).map_err(|source| Error::Encode(Arc::new(source)))?,
        })
    }

    /// The event in a message.
    pub fn event(&self) -> Result<Event, Error> {
        serde_json::from_str(&self.body)
            .map_err(|source| Error::Decode { message: self.id.clone(), source: Arc::new(source) })
    }
}

impl From<OutboxMessage> for Message {
    fn from(outgoing: OutboxMessage) -> Self {
        Self {
            tenant: outgoing.tenant,
            subject: outgoing.subject,
            id: outgoing.event_id.to_string(),
            headers: outgoing.headers,
            body: outgoing.body,
        }
    }
}

/// The answer to a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its place in the log.
    pub seq: u64,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its name. Workers of one service share one; each subscription gets its own copy of every message.
    pub name: String,
    /// Which messages: subjects, where `*` is any one word and a last `>` any rest.
    pub filters: Vec<String>,
    /// How long a worker has before the message is handed to another.
    pub lease: Duration,
    /// How many deliveries a message gets; at least 1.
    pub max_deliveries: u32,
}

/// A message in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Its place in the log.
    pub seq: u64,
    /// Which delivery this is, from 1.
    pub number: u32,
    pub(crate) lease: Lease,
}

/// A message that is not delivered any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// Its place in the log.
    pub seq: u64,
    /// How many deliveries it had.
    pub deliveries: u32,
    /// Why it is dead.
    pub reason: String,
}
