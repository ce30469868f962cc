//! What can go wrong around a sandbox. What goes wrong *inside* is an [`crate::ExitStatus`] or a [`crate::Limit`].

use std::io;

use sandgate_domain::ErrorCode;

/// An operation on the engine, a sandbox or a process did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot do it.
    #[error("{what} is not possible here: {reason}; {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What the probe saw.
        reason: String,
        /// What to do about it.
        instead: String,
    },
    /// Sandboxes of the process level all lie at one path, and another process has it.
    #[error("another process{} runs plain sandboxes in this folder; wait for its end, or use another folder", numbered(.holder))]
    Busy {
        /// The id of that process, if it told.
        holder: Option<u32>,
    },
    /// The request itself is wrong.
    #[error("{what}: {reason}")]
    Invalid {
        /// The part of the request.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A step of building the sandbox failed.
    #[error("could not set up the sandbox: {step}")]
    Setup {
        /// The step and what it was done to.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The program could not be started inside; nothing ran.
    #[error("could not start `{program}`: {step}")]
    Exec {
        /// The first argument of the command.
        program: String,
        /// The step, such as `execute` or `change directory`.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The sandbox ended while something was asked of it.
    #[error("sandbox `{name}` has ended{}", because(.broken))]
    Gone {
        /// The sandbox.
        name: String,
        /// The limit that it broke, if that ended it.
        broken: Option<crate::Limit>,
    },
    /// Something of the host around the sandbox failed.
    #[error("{doing}")]
    Host {
        /// What was being done.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The sandbox's processes did not end in time; removal continues in the background.
    #[error("sandbox `{name}` is still ending after {seconds} s")]
    Stuck {
        /// The sandbox.
        name: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

fn numbered(holder: &Option<u32>) -> String {
    holder.map(|pid| format!(" ({pid})")).unwrap_or_default()
}

fn because(broken: &Option<crate::Limit>) -> String {
    broken.map(|limit| format!(" because it broke its {limit} limit")).unwrap_or_default()
}

impl Error {
    /// The kind of failure, for front doors.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unsupported { .. } => ErrorCode::Unsupported,
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::Busy { .. } => ErrorCode::Conflict,
            Self::Exec { source, .. } => match source.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => ErrorCode::NotFound,
                Some(libc::EACCES | libc::ENOEXEC | libc::ELOOP | libc::E2BIG) => {
                    ErrorCode::InvalidArgument
                }
                Some(libc::EAGAIN | libc::ENOMEM) => ErrorCode::ResourceExhausted,
                _ => ErrorCode::Internal,
            },
            Self::Gone { broken: Some(_), .. } => ErrorCode::ResourceExhausted,
            Self::Gone { broken: None, .. } => ErrorCode::Unavailable,
            Self::Setup { source, .. } | Self::Host { source, .. } => match source.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                    ErrorCode::ResourceExhausted
                }
                _ if source.kind() == io::ErrorKind::AlreadyExists => ErrorCode::Conflict,
                _ => ErrorCode::Internal,
            },
            Self::Stuck { .. } => ErrorCode::DeadlineExceeded,
        }
    }

    pub(crate) fn host(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Host { doing, source }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }
}
