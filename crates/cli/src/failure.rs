//! What a command returns when it can't do what was asked: a text for people and an exit code.

use std::io::ErrorKind;

use sandgate_domain::ErrorCode;

use crate::exit::Exit;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// The stable code, as in JSON.
    pub code: String,
    /// What happened and why: one line or more, without colour.
    pub message: String,
    /// The next step, if there is one.
    pub help: Option<String>,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::from(code),
            code: code.as_str().to_owned(),
            message: message.into(),
            help: None,
        }
    }

    /// The same failure with a next step.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// A failure from an error and everything that caused it.
    pub fn from_error(code: ErrorCode, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        let mut place = place_help(error);
        while let Some(error) = cause {
            place = place.or_else(|| place_help(error));
            let text = error.to_string();
            // Some drivers repeat their cause in their own text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        // Some errors tell that themselves.
        let help = place.filter(|_| !message.contains("--data-dir")).map(str::to_owned);
        Self { help, ..Self::new(code, message) }
    }
}

/// What to do where the system keeps us from writing.
fn place_help(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of the standard library grow")]
    match error.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            Some("state needs a folder that can be written; give another one with --data-dir")
        }
        ErrorKind::PermissionDenied => {
            Some("check who owns it; another folder for state is given with --data-dir")
        }
        ErrorKind::StorageFull => {
            Some("make room (`sandgate snapshot prune`), or give another folder with --data-dir")
        }
        _ => None,
    }
}

macro_rules! from_coded_error {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::from_error(error.code(), &error)
            }
        }
    )+};
}

from_coded_error!(
    sandgate_api::Error,
    sandgate_bus::Error,
    sandgate_chassis::Error,
    sandgate_forge::Error,
    sandgate_gate_runner::Error,
    sandgate_integration_agent::Error,
    sandgate_node::Error,
    sandgate_pr_automation::Error,
    sandgate_provider_gateway::Error,
    sandgate_sandbox::Error,
    sandgate_snapshot_service::Error,
    sandgate_store::Error
);

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from_error(ErrorCode::Internal, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_can_not_be_written_comes_with_a_next_step() {
        for kind in
            [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied, ErrorKind::StorageFull]
        {
            let failure = Failure::from(std::io::Error::from(kind));
            assert!(failure.help.unwrap().contains("--data-dir"), "{kind}");
        }
        assert_eq!(Failure::from(std::io::Error::from(ErrorKind::TimedOut)).help, None);
        let says_it = std::io::Error::new(ErrorKind::PermissionDenied, "name one with --data-dir");
        assert_eq!(Failure::from(says_it).help, None);
    }
}
