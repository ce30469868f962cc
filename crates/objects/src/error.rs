//! What can go wrong with an object.

use std::io;
use std::path::{Path, PathBuf};

use sandgate_domain::ErrorCode;

use crate::{Kind, ObjectId};

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The git that reads objects ended by itself.
    #[error("git cat-file ended while it was asked: {stderr}")]
    Ended {
        /// The end of what it said, without control characters.
        stderr: String,
    },
    /// The git that reads objects took too long, and was killed.
    #[error("git cat-file did not answer within {seconds} s and was killed")]
    Deadline {
        /// How long it was given.
        seconds: u64,
    },
    /// Git answered what can't be read.
    #[error("git cat-file gave an answer that cannot be read: {what}")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
    /// The repository lacks an object.
    #[error("the object {id} is not in this repository; a partial clone lacks it, fetch it first")]
    Missing {
        /// Its name.
        id: ObjectId,
    },
    /// An object is something else.
    #[error("the object {id} is a {found}, and a {wanted} is needed")]
    OtherKind {
        /// Its name.
        id: ObjectId,
        /// What it is.
        found: Kind,
        /// What was asked for.
        wanted: Kind,
    },
    /// An object that is not what its kind is.
    #[error("the {kind} {id} is malformed")]
    Malformed {
        /// Its name.
        id: ObjectId,
        /// What it says that it is.
        kind: Kind,
    },
    /// An object over a bound.
    #[error("the object {id} has {bytes} bytes, over the bound of {limit}")]
    TooLarge {
        /// Its name.
        id: ObjectId,
        /// Its length.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing { .. } => ErrorCode::NotFound,
            Self::OtherKind { .. } | Self::Malformed { .. } => ErrorCode::InvalidArgument,
            Self::TooLarge { .. } => ErrorCode::ResourceExhausted,
            Self::Deadline { .. } => ErrorCode::DeadlineExceeded,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorCode::ResourceExhausted
            }
            Self::Io { .. } | Self::Ended { .. } | Self::Answer { .. } => ErrorCode::Internal,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }
}
