//! What can go wrong with sandboxes.

use std::io;

use sandgate_domain::ErrorCode;

/// A failure of the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] sandgate_store::Error),
    /// The machine refused.
    #[error("{}", .0.message())]
    Node(#[from] tonic::Status),
    /// `/proc` does not tell what it should.
    #[error("cannot tell this process apart from others by `{path}`")]
    Process {
        /// The file of `/proc`.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::Node(refusal) => sandgate_wire::error_code(refusal),
            Self::Process { .. } => ErrorCode::Internal,
        }
    }
}
