//! What a webhook's sender is told: one variant for each row of the contract. The HTTP layer only writes it down.

use sandgate_forge::RepositoryName;

use crate::signature::NoSecret;

/// Seconds after which a sender may try again when we could not store its delivery.
pub const RETRY_AFTER_SECONDS: u32 = 30;

/// The answer to one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Stored; it will be worked on.
    Queued {
        /// The delivery's id.
        delivery_id: String,
    },
    /// Known by its id; it succeeded or is in flight.
    Duplicate {
        /// The delivery's id.
        delivery_id: String,
    },
    /// Understood, and nothing to do.
    Ignored {
        /// The delivery's id.
        delivery_id: String,
        /// Why, and what to do if that is not wanted.
        reason: String,
    },
    /// The id is known with another body.
    OtherBody {
        /// The delivery's id.
        delivery_id: String,
    },
    /// The signature is missing or wrong in any way.
    BadSignature,
    /// The delivery can't be understood.
    Malformed {
        /// What, and where.
        detail: String,
    },
    /// The body is over the limit.
    TooLarge,
    /// No webhook secret is set.
    NoSecret,
    /// It could not be stored.
    NotStored,
}

impl Answer {
    /// For a repository that was never added here.
    pub fn unknown_repository(delivery_id: &str, name: &RepositoryName) -> Self {
        let reason = format!(
            "the repository {name} is not known here: add it with `sandgate repo add <path> --name {name}`"
        );
        Self::Ignored { delivery_id: delivery_id.to_owned(), reason }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Queued { .. } | Self::Duplicate { .. } | Self::Ignored { .. } => 202,
            Self::Malformed { .. } => 400,
            Self::BadSignature => 401,
            Self::OtherBody { .. } => 409,
            Self::TooLarge => 413,
            Self::NoSecret | Self::NotStored => 503,
        }
    }

    /// `queued`, `duplicate` or `ignored`; none for a delivery that was refused.
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Queued { .. } => Some("queued"),
            Self::Duplicate { .. } => Some("duplicate"),
            Self::Ignored { .. } => Some("ignored"),
            Self::OtherBody { .. }
            | Self::BadSignature
            | Self::Malformed { .. }
            | Self::TooLarge
            | Self::NoSecret
            | Self::NotStored => None,
        }
    }

    /// The id to repeat in the answer; none before the sender is known to hold the secret.
    pub fn delivery_id(&self) -> Option<&str> {
        match self {
            Self::Queued { delivery_id }
            | Self::Duplicate { delivery_id }
            | Self::Ignored { delivery_id, .. }
            | Self::OtherBody { delivery_id } => Some(delivery_id),
            Self::BadSignature
            | Self::Malformed { .. }
            | Self::TooLarge
            | Self::NoSecret
            | Self::NotStored => None,
        }
    }

    /// A sentence for the sender; none where the outcome says it all.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Queued { .. } | Self::Duplicate { .. } => None,
            Self::Ignored { reason, .. } => Some(reason.clone()),
            Self::OtherBody { delivery_id } => {
                Some(format!("the delivery {delivery_id} was received before with another body"))
            }
            Self::BadSignature => Some(crate::signature::BadSignature.to_string()),
            Self::Malformed { detail } => Some(detail.clone()),
            Self::TooLarge => {
                Some(format!("the body has more than {} bytes", crate::payload::MAX_BODY_BYTES))
            }
            Self::NoSecret => Some(NoSecret.to_string()),
            Self::NotStored => {
                Some("the delivery could not be stored: send it again later".to_owned())
            }
        }
    }

    /// For `Retry-After`, in seconds.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        (*self == Self::NotStored).then_some(RETRY_AFTER_SECONDS)
    }
}
