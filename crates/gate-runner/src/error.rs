//! What keeps a step from being run: always our fault, never that of the code under test.

use sandgate_domain::ErrorCode;
use sandgate_wire::error_code;
use tonic::Status;

/// A failure of a gate runner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A service refused.
    #[error("{}", .0.message())]
    Refused(#[from] Status),
    /// A service sent what can't be read.
    #[error(transparent)]
    Message(#[from] sandgate_wire::FieldError),
    /// A report, or how a snapshot is entered, can't be written as JSON.
    #[error("the report of a step can't be written")]
    Report(#[from] serde_json::Error),
    /// A run can't go on here: the agent refuses for too long.
    #[error("the run can't go on")]
    Stuck(#[source] Box<Error>),
    /// The node did not tell how a command ended.
    #[error("the node did not tell how a command ended")]
    NoEnd,
    /// Nobody prepared the files of the run.
    #[error("the files of the run were not prepared on this machine")]
    NotPrepared,
    /// The layer of the setup is gone, though the setup has ended.
    #[error("the layer of the setup is gone; run again to build it anew")]
    SetupGone,
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(status) => error_code(status),
            Self::Message(error) => error.code(),
            Self::Stuck(error) => error.code(),
            Self::NotPrepared | Self::Report(_) | Self::NoEnd => ErrorCode::Internal,
            Self::SetupGone => ErrorCode::Unavailable,
        }
    }

    /// The error and all its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Whether the same call may go well a little later.
pub(crate) fn may_pass(status: &Status) -> bool {
    matches!(
        error_code(status),
        ErrorCode::Unavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::ResourceExhausted
            | ErrorCode::Internal
    )
}
