//! What can go wrong with a run.

use std::io;

use sandgate_domain::{ErrorCode, RunId};

/// A failure of the integration agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] sandgate_store::Error),
    /// The state machine refused a transition.
    #[error("run {run} can't go on")]
    Decide {
        /// The run.
        run: RunId,
        /// What was impossible.
        #[source]
        source: sandgate_engine::run::DecideError,
    },
    /// There is no such run here, or it has ended.
    #[error("run {0} is not under way here")]
    NotRunning(RunId),
    /// A log can't be written or read.
    #[error("the log of {step} can't be used")]
    Log {
        /// The step.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What happened to a run can't be written down.
    #[error("run {run} can't go on: {reason}")]
    Broken {
        /// The run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// A run can't be taken by this process.
    #[error("run {run} can't be held in the folder of its logs")]
    Hold {
        /// The run.
        run: RunId,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A value could not be written as JSON.
    #[error("a plan can't be written down")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::NotRunning(_) => ErrorCode::NotFound,
            Self::Log { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::Log { source, .. } | Self::Hold { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                ErrorCode::ResourceExhausted
            }
            Self::Broken { .. }
            | Self::Decide { .. }
            | Self::Log { .. }
            | Self::Hold { .. }
            | Self::Json(_) => ErrorCode::Internal,
        }
    }
}
