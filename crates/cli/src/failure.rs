//! What a command returns when it can't do what was asked: a text for people and an exit code.

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
    pub fn from_error(code: ErrorCode, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(code, message)
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
