//! What a webhook's sender is told of a delivery that starts nothing.

use sandgate_forge::RepositoryName;

/// The answer to a delivery that ends before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Understood, and nothing to do.
    Ignored {
        /// Why, and what to do if that is not wanted.
        reason: String,
    },
    /// The delivery can't be understood.
    Malformed {
        /// What, and where.
        detail: String,
    },
    /// The body is over the limit.
    TooLarge,
}

impl Answer {
    /// For a repository that was never added here.
    pub fn unknown_repository(name: &RepositoryName) -> Self {
        let reason = format!(
            "the repository {name} is not known here: add it with `sandgate repo add <path> --name {name}`"
        );
        Self::Ignored { reason }
    }

    /// A sentence for the sender.
    pub fn reason(&self) -> String {
        match self {
            Self::Ignored { reason } => reason.clone(),
            Self::Malformed { detail } => detail.clone(),
            Self::TooLarge => {
                format!("the body has more than {} bytes", crate::payload::MAX_BODY_BYTES)
            }
        }
    }
}
