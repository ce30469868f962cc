//! The six results of a gate, and of a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a gate or a run ended. *Failure* is the code's fault, *error* is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateResult {
    /// Every command ended with status 0.
    Success,
    /// A command ended otherwise, or a limit of the gate was broken by it.
    Failure,
    /// We could not run it.
    Error,
    /// It ran longer than its `timeout`.
    Timeout,
    /// It was stopped: fail-fast, a newer head, a person.
    Cancellation,
    /// It had no reason to run: filtered out, or what it needs did not pass.
    Skip,
}

impl GateResult {
    /// All results, for tables.
    pub const ALL: [GateResult; 6] =
        [Self::Success, Self::Failure, Self::Error, Self::Timeout, Self::Cancellation, Self::Skip];

    /// The stable name, as in JSON, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
        }
    }

    /// Whether gates that need this one may start.
    pub fn passes(self) -> bool {
        matches!(self, Self::Success | Self::Skip)
    }
}

impl fmt::Display for GateResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a result (success, failure, error, timeout, cancellation or skip)")]
pub struct ParseResultError(pub String);

impl FromStr for GateResult {
    type Err = ParseResultError;

    fn from_str(text: &str) -> Result<Self, ParseResultError> {
        Self::ALL
            .into_iter()
            .find(|result| result.as_str() == text)
            .ok_or_else(|| ParseResultError(text.chars().take(80).collect()))
    }
}
