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
    /// There is no such run, or it has no such step.
    #[error("there is no {0}")]
    NoRun(RunId),
    /// The name of an event is none.
    #[error(transparent)]
    Event(#[from] sandgate_domain::event::ParseEventTypeError),
    /// A log can't be written or read.
    #[error("the log of {step} can't be used")]
    Log {
        /// The step.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A value could not be written or read as JSON.
    #[error("the plan or progress of a run can't be written or read")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::NoRun(_) => ErrorCode::NotFound,
            Self::Log { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::Log { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorCode::ResourceExhausted
            }
            Self::Decide { .. } | Self::Log { .. } | Self::Json(_) | Self::Event(_) => {
                ErrorCode::Internal
            }
        }
    }
}
