//! What the ending of one attempt means.

use std::time::Duration;

use sandgate_domain::GateResult;
use serde::{Deserialize, Serialize};

use crate::config::printable;
use crate::config::values::show_duration;

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 500;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The commands ended, the last one with this status.
    Exited(i32),
    /// A command was ended by this signal, which we did not send.
    Signaled(i32),
    /// It ran longer than allowed and was ended.
    TimedOut,
    /// It wanted more than a limit allows and was ended.
    LimitBroken {
        /// Which, such as `memory`.
        limit: String,
    },
    /// We could not run it, or lost it.
    Infra {
        /// What happened.
        reason: String,
    },
    /// We ended it because we were told to.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// What an outcome means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The result, if there is no further attempt.
    pub result: GateResult,
    /// Why, for people; none for a success.
    pub reason: Option<String>,
    /// The exit code, if there was one.
    pub exit_code: Option<i32>,
    /// The signal, if there was one.
    pub signal: Option<i32>,
    /// Which retries may be used up for another attempt.
    pub retry: RetryBudget,
}

/// Which retries an outcome may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryBudget {
    /// None: it is final.
    Final,
    /// Those for faults of ours.
    Infra,
    /// Those that the gate asked for.
    Gate,
}

/// Judges one attempt that was allowed to run for `timeout`.
pub fn judge(outcome: &Outcome, timeout: Duration) -> Judgement {
    let (result, retry, reason) = match outcome {
        Outcome::Exited(0) => (GateResult::Success, RetryBudget::Final, None),
        Outcome::Exited(code) => (GateResult::Failure, RetryBudget::Gate, Some(exit_reason(*code))),
        Outcome::Signaled(signal) => {
            let reason = match signal_name(*signal) {
                Some(name) => format!("ended by signal {signal} ({name})"),
                None => format!("ended by signal {signal}"),
            };
            (GateResult::Failure, RetryBudget::Gate, Some(reason))
        }
        Outcome::TimedOut => {
            let reason = format!("ran longer than its timeout of {}", show_duration(timeout));
            (GateResult::Timeout, RetryBudget::Gate, Some(reason))
        }
        Outcome::LimitBroken { limit } => {
            let reason = format!("used more than its {} limit", printable(limit, 40));
            (GateResult::Failure, RetryBudget::Gate, Some(reason))
        }
        Outcome::Infra { reason } => {
            let reason = format!("could not be run: {}", printable(reason, MAX_REASON));
            (GateResult::Error, RetryBudget::Infra, Some(reason))
        }
        Outcome::Cancelled { reason } => {
            let reason = printable(reason, MAX_REASON);
            (GateResult::Cancellation, RetryBudget::Final, Some(reason))
        }
    };
    Judgement {
        result,
        reason,
        exit_code: if let Outcome::Exited(code) = outcome { Some(*code) } else { None },
        signal: if let Outcome::Signaled(signal) = outcome { Some(*signal) } else { None },
        retry,
    }
}

fn exit_reason(code: i32) -> String {
    match code {
        126 => "exit code 126 (a command can't be executed)".to_owned(),
        127 => "exit code 127 (a command was not found)".to_owned(),
        other => format!("exit code {other}"),
    }
}

/// The names of signals that end commands, as on Linux.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome() {
        let text = |text: &str| text.to_owned();
        for (outcome, result, retry, reason) in [
            (Outcome::Exited(0), GateResult::Success, RetryBudget::Final, None),
            (Outcome::Exited(1), GateResult::Failure, RetryBudget::Gate, Some("exit code 1")),
            (
                Outcome::Exited(127),
                GateResult::Failure,
                RetryBudget::Gate,
                Some("exit code 127 (a command was not found)"),
            ),
            (
                Outcome::Signaled(11),
                GateResult::Failure,
                RetryBudget::Gate,
                Some("ended by signal 11 (SIGSEGV)"),
            ),
            (
                Outcome::Signaled(40),
                GateResult::Failure,
                RetryBudget::Gate,
                Some("ended by signal 40"),
            ),
            (
                Outcome::TimedOut,
                GateResult::Timeout,
                RetryBudget::Gate,
                Some("ran longer than its timeout of 1m30s"),
            ),
            (
                Outcome::LimitBroken { limit: text("memory") },
                GateResult::Failure,
                RetryBudget::Gate,
                Some("used more than its memory limit"),
            ),
            (
                Outcome::Infra { reason: text("no space\nleft") },
                GateResult::Error,
                RetryBudget::Infra,
                Some("could not be run: no space\u{fffd}left"),
            ),
            (
                Outcome::Cancelled { reason: text("a newer head") },
                GateResult::Cancellation,
                RetryBudget::Final,
                Some("a newer head"),
            ),
        ] {
            let judgement = judge(&outcome, Duration::from_secs(90));
            assert_eq!(judgement.result, result, "{outcome:?}");
            assert_eq!(judgement.retry, retry, "{outcome:?}");
            assert_eq!(judgement.reason.as_deref(), reason, "{outcome:?}");
        }
        let judgement = judge(&Outcome::Exited(-3), Duration::ZERO);
        assert_eq!((judgement.exit_code, judgement.signal), (Some(-3), None));
        let judgement = judge(&Outcome::Signaled(9), Duration::ZERO);
        assert_eq!((judgement.exit_code, judgement.signal), (None, Some(9)));
    }
}
