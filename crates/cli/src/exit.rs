//! Exit codes: one table, for people and scripts.

use sandgate_domain::{ErrorCode, GateResult};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked, or the verdict is positive.
    Ok = 0,
    /// Our fault, also a run that ends `error`.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The verdict is negative.
    Negative = 3,
    /// Not allowed.
    Denied = 4,
    /// Not found.
    NotFound = 5,
    /// Conflict.
    Conflict = 6,
    /// Not reachable.
    Unreachable = 7,
    /// Timed out waiting.
    TimedOut = 8,
    /// Rate limited, over budget or out of space.
    Exhausted = 9,
    /// Interrupted.
    Interrupted = 130,
}

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument => Self::Usage,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Conflict => Self::Conflict,
            ErrorCode::PermissionDenied => Self::Denied,
            ErrorCode::Unavailable => Self::Unreachable,
            ErrorCode::DeadlineExceeded => Self::TimedOut,
            ErrorCode::ResourceExhausted => Self::Exhausted,
            ErrorCode::Unsupported | ErrorCode::Internal => Self::Failed,
        }
    }
}

impl From<GateResult> for Exit {
    /// The exit code of a run with this verdict that nobody at this terminal interrupted.
    fn from(verdict: GateResult) -> Self {
        match verdict {
            GateResult::Success | GateResult::Skip => Self::Ok,
            GateResult::Failure | GateResult::Timeout | GateResult::Cancellation => Self::Negative,
            GateResult::Error => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_the_documented_codes() {
        let table = [
            (GateResult::Success, 0),
            (GateResult::Skip, 0),
            (GateResult::Error, 1),
            (GateResult::Failure, 3),
            (GateResult::Timeout, 3),
            (GateResult::Cancellation, 3),
        ];
        for (verdict, code) in table {
            assert_eq!(Exit::from(verdict) as u8, code, "{verdict}");
        }
    }
}
