//! What can go wrong on a bus.

use std::sync::Arc;

use sandgate_domain::ErrorCode;

/// An error of a bus.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log could not be read or written.
    #[error("the log of the bus can't be used")]
    Store(#[source] Arc<sandgate_store::Error>),
    /// The lease on a message is not held any more: it was handed to another, or answered before.
    #[error("message {seq} of `{subscription}` is not in these hands any more (delivery {number})")]
    StaleLease {
        /// The subscription.
        subscription: String,
        /// The place of the message in the log.
        seq: u64,
        /// The number of the delivery that was answered.
        number: u32,
    },
    /// A subscription that can't be made.
    #[error("the subscription `{name}` is not possible: {problem}")]
    Subscription {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An event that can't be written as JSON.
    #[error("an event can't be encoded")]
    Encode(#[source] Arc<serde_json::Error>),
    /// A message that is no event.
    #[error("message {message} is no event")]
    Decode {
        /// Its id.
        message: String,
        /// Why.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(source) => source.code(),
            Self::StaleLease { .. } => ErrorCode::Conflict,
            Self::Subscription { .. } | Self::Decode { .. } => ErrorCode::InvalidArgument,
            Self::Encode(_) => ErrorCode::Internal,
            Self::Closed => ErrorCode::Unavailable,
        }
    }
}

impl From<sandgate_store::Error> for Error {
    fn from(source: sandgate_store::Error) -> Self {
        Self::Store(Arc::new(source))
    }
}
