//! The few codes that every error of the workspace maps to; front doors turn them into exit codes and statuses.

/// What kind of failure it is, from the caller's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request or the configuration is wrong; repeating it unchanged can't help.
    InvalidArgument,
    /// The thing asked for does not exist.
    NotFound,
    /// It exists already, or changed in the meantime.
    Conflict,
    /// The caller may not do this.
    PermissionDenied,
    /// This place cannot do it; the text says what to do instead.
    Unsupported,
    /// Something needed is not reachable now; repeating it later may help.
    Unavailable,
    /// It took longer than allowed.
    DeadlineExceeded,
    /// A bound was reached: disk, memory, rate or budget.
    ResourceExhausted,
    /// Our fault.
    Internal,
}

impl ErrorCode {
    /// The stable name, as in JSON and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::PermissionDenied => "permission_denied",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
