//! What can go wrong with snapshots and layers.

use sandgate_domain::{ErrorCode, SnapshotId};

/// A failure of the snapshot service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] sandgate_store::Error),
    /// There is no such snapshot, or no longer.
    #[error("there is no snapshot {0}; `sandgate snapshot list` shows those that exist")]
    NoSnapshot(SnapshotId),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::NoSnapshot(_) => ErrorCode::NotFound,
        }
    }
}
