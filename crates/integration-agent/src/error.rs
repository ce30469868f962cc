//! What can go wrong with a run.

use std::io;

use sandgate_domain::{ErrorCode, RunId, StepId};

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
    /// The bus refused, or an event can't be read.
    #[error(transparent)]
    Bus(#[from] sandgate_bus::Error),
    /// Another service refused.
    #[error("{}", .0.message())]
    Service(#[from] tonic::Status),
    /// The change can't be merged, so there is nothing to test.
    #[error("{reason}{}", conflicting(.paths))]
    Conflict {
        /// Why, for people.
        reason: String,
        /// The paths in conflict.
        paths: Vec<String>,
    },
    /// The configuration can't be followed.
    #[error("{0}")]
    Configuration(String),
    /// The key of a request was used for something else.
    #[error(
        "the idempotency key was used before: {run} tests {known}, this request asks for {asked}; send another key"
    )]
    OtherRequest {
        /// The run of that request.
        run: RunId,
        /// What it tests, as `repository@commit`.
        known: String,
        /// What is asked for now.
        asked: String,
    },
    /// A commit of a fork that nobody looked at.
    #[error("{sha} comes from a fork and waits for an approval of exactly this commit: {}", approval(.number, .sha))]
    Held {
        /// The commit.
        sha: String,
        /// The pull request that brings it, if it is still known.
        number: Option<u64>,
    },
    /// The commit of a run turned out to deserve less trust than the run was planned with.
    #[error(
        "{run} was planned with more trust than its commit has, which is that of tier `{tier}`: start a new run of the commit"
    )]
    LessTrusted {
        /// The run.
        run: RunId,
        /// How far the commit is trusted.
        tier: String,
    },
    /// An event took too long to handle.
    #[error("it took longer than {seconds} s and was stopped")]
    Slow {
        /// The limit.
        seconds: u64,
    },
    /// There is no such step.
    #[error("there is no {0}")]
    NoStep(StepId),
    /// The files of a run were those of a working tree.
    #[error("{0} tested a working tree, which is not kept; start it again with `sandgate run`")]
    NotRepeatable(RunId),
    /// A name in an event is none that is known.
    #[error(transparent)]
    Name(#[from] sandgate_domain::ParseNameError),
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
    /// Output was sent whose beginning is missing.
    #[error(
        "the log goes up to {expected}, and bytes from {offset} on were sent; send those between first"
    )]
    LogGap {
        /// Where the next byte goes.
        expected: u64,
        /// Where the first one that was sent goes.
        offset: u64,
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
            Self::NoRun(_) | Self::NoStep(_) => ErrorCode::NotFound,
            Self::Bus(error) => error.code(),
            Self::Service(status) => sandgate_wire::error_code(status),
            Self::Conflict { .. } | Self::OtherRequest { .. } | Self::LessTrusted { .. } => {
                ErrorCode::Conflict
            }
            Self::Held { .. } => ErrorCode::PermissionDenied,
            Self::Slow { .. } => ErrorCode::DeadlineExceeded,
            Self::Configuration(_)
            | Self::NotRepeatable(_)
            | Self::Name(_)
            | Self::LogGap { .. } => ErrorCode::InvalidArgument,
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

fn approval(number: &Option<u64>, sha: &str) -> String {
    match number {
        Some(number) => format!("`sandgate pr approve {number} --sha {sha}`"),
        None => "open a pull request for it".to_owned(),
    }
}

fn conflicting(paths: &[String]) -> String {
    if paths.is_empty() { String::new() } else { format!(" ({})", paths.join(", ")) }
}
