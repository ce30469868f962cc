//! What keeps a step from being run: always our fault, never that of the code under test.

use sandgate_domain::ErrorCode;

/// A failure of a gate runner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent refused.
    #[error(transparent)]
    Agent(#[from] sandgate_integration_agent::Error),
    /// A service refused.
    #[error("{}", .0.message())]
    Refused(#[from] tonic::Status),
    /// A service answered what it should not.
    #[error(transparent)]
    Answer(#[from] sandgate_wire::FieldError),
    /// What is to be kept can't be written as JSON.
    #[error("cannot write down how a snapshot is entered")]
    Entry(#[from] serde_json::Error),
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
            Self::Agent(error) => error.code(),
            Self::Refused(refusal) => sandgate_wire::error_code(refusal),
            Self::Answer(_) | Self::Entry(_) | Self::NoEnd => ErrorCode::Internal,
            Self::NotPrepared => ErrorCode::Internal,
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
