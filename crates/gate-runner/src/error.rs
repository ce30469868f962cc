//! What keeps a step from being run: always our fault, never that of the code under test.

use sandgate_domain::ErrorCode;

/// A failure of a gate runner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent refused.
    #[error(transparent)]
    Agent(#[from] sandgate_integration_agent::Error),
    /// The gateway refused.
    #[error(transparent)]
    Gateway(#[from] sandgate_provider_gateway::Error),
    /// The snapshot service refused.
    #[error(transparent)]
    Snapshots(#[from] sandgate_snapshot_service::Error),
    /// The machine refused.
    #[error(transparent)]
    Node(#[from] sandgate_node::Error),
    /// Nobody prepared the files of the run.
    #[error("the files of the run were not prepared on this machine")]
    NotPrepared,
    /// Plain processes are for what their own user trusts.
    #[error(
        "what a {0} brings is never run at the process level; run it on a machine with namespaces"
    )]
    Untrusted(sandgate_domain::TrustTier),
    /// The layer of the setup is gone, though the setup has ended.
    #[error("the layer of the setup is gone; run again to build it anew")]
    SetupGone,
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Agent(error) => error.code(),
            Self::Gateway(error) => error.code(),
            Self::Snapshots(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::NotPrepared => ErrorCode::Internal,
            Self::Untrusted(_) => ErrorCode::PermissionDenied,
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
