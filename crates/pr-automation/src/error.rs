//! What can go wrong in the service, and what a caller is told.

use sandgate_domain::{ErrorCode, PullRequestId};
use sandgate_forge::{BranchName, NameError, RepositoryName};
use sandgate_wire::FieldError;
use tonic::Status;

use crate::decide::ApprovalRefused;

/// A failed call or task.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it.
    #[error("{0}")]
    Store(#[source] sandgate_store::Error),
    /// The repository on disk did not do it.
    #[error(transparent)]
    Forge(#[from] sandgate_forge::Error),
    /// The bus did not do it.
    #[error("{0}")]
    Bus(#[source] sandgate_bus::Error),
    /// A field of a message is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An approval changes nothing.
    #[error(transparent)]
    Approval(#[from] ApprovalRefused),
    /// A delivery that can't be understood.
    #[error("{detail}")]
    Malformed {
        /// What, and where.
        detail: String,
    },
    /// The same delivery id came with another body.
    #[error("the delivery {delivery_id} was received before with another body")]
    OtherBody {
        /// The id.
        delivery_id: String,
    },
    /// Nobody made this repository known.
    #[error(
        "the repository {name} is not known here: add it with `sandgate repo add <path> --name {name}`"
    )]
    UnknownRepository {
        /// Its name.
        name: RepositoryName,
    },
    /// A known repository whose folder can't be read now.
    #[error(
        "the repository {name} can't be read at `{}`: bring the folder back, or make it known anew with `sandgate repo remove {name}` and `sandgate repo add`",
        .path.display()
    )]
    SourceAway {
        /// Its name.
        name: RepositoryName,
        /// Where it was.
        path: std::path::PathBuf,
    },
    /// A repository behind a network.
    #[error(
        "`{}` is an address, and only repositories on this machine's disk can be added: clone it and add the folder",
        .address.escape_debug()
    )]
    RemoteRepository {
        /// What was given.
        address: String,
    },
    /// A path of this machine that is no absolute one.
    #[error("`{}` is no absolute path on the machine of this server", .path.escape_debug())]
    RelativePath {
        /// What was given.
        path: String,
    },
    /// There is no such pull request.
    #[error("there is no pull request {0}")]
    UnknownPullRequest(String),
    /// A branch has an open pull request already.
    #[error("the branch `{}` has the open pull request {number}: push to it with `sandgate pr push {number}`", .branch.as_str().escape_debug())]
    AlreadyOpen {
        /// The branch.
        branch: BranchName,
        /// The pull request's number.
        number: u64,
    },
    /// A closed pull request can't be changed.
    #[error("the pull request {number} is closed: open another")]
    Closed {
        /// Its number.
        number: u64,
    },
    /// There is no such delivery.
    #[error("there is no delivery `{}`", .delivery_id.escape_debug())]
    UnknownDelivery {
        /// The id that it would have.
        delivery_id: String,
    },
    /// The repository has no branch to merge into.
    #[error("{name} has no default branch: name the base branch")]
    NoBaseBranch {
        /// The repository.
        name: RepositoryName,
    },
    /// A pull request into its own branch.
    #[error("the branch `{}` can't be merged into itself: name another head branch", .branch.as_str().escape_debug())]
    SameBranch {
        /// The branch.
        branch: BranchName,
    },
    /// A stored pull request that can't be read.
    #[error("the stored state of pull request {id} can't be read")]
    State {
        /// Which one.
        id: PullRequestId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value that can't be written as JSON.
    #[error("{what} can't be written as JSON")]
    Encode {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another service did not answer as it should.
    #[error("{calling}: {}", .status.message())]
    Call {
        /// What was asked.
        calling: &'static str,
        /// Its answer.
        status: Box<Status>,
    },
}

impl Error {
    /// What kind of failure it is for the caller.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::Forge(error) => error.code(),
            Self::Bus(error) => error.code(),
            Self::Field(error) => error.code(),
            Self::Approval(error) => error.code(),
            Self::Name(_)
            | Self::Malformed { .. }
            | Self::RelativePath { .. }
            | Self::SameBranch { .. }
            | Self::NoBaseBranch { .. } => ErrorCode::InvalidArgument,
            Self::OtherBody { .. } | Self::AlreadyOpen { .. } | Self::Closed { .. } => {
                ErrorCode::Conflict
            }
            Self::UnknownRepository { .. }
            | Self::UnknownPullRequest(_)
            | Self::UnknownDelivery { .. } => ErrorCode::NotFound,
            Self::SourceAway { .. } => ErrorCode::Unavailable,
            Self::RemoteRepository { .. } => ErrorCode::Unsupported,
            Self::State { .. } | Self::Encode { .. } => ErrorCode::Internal,
            Self::Call { status, .. } => sandgate_wire::error_code(status),
        }
    }
}

impl From<sandgate_store::Error> for Error {
    fn from(error: sandgate_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<sandgate_bus::Error> for Error {
    fn from(error: sandgate_bus::Error) -> Self {
        Self::Bus(error)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        sandgate_wire::status(error.code(), error.to_string())
    }
}

/// Says once, in the log, what a task could not do; it is tried again.
pub(crate) fn log_retry(what: &'static str, error: &Error) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "could not {what}; it is tried again");
}
