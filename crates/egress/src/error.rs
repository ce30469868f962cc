//! What can go wrong between a sandbox and the outside, and the HTTP status that says so.

use std::io;
use std::net::IpAddr;

use hyper::StatusCode;
use sandgate_domain::ErrorCode;

use crate::address::Refusal;

/// Why the proxy cannot start, or why it did not carry a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener that came out of the sandbox is not usable.
    #[error("cannot serve the proxy on the listener of the sandbox")]
    Listener(#[source] io::Error),
    /// The host's own addresses can't be told from others, so they could not be refused.
    #[error(
        "cannot tell the host's own addresses from others: binding to {address}, which no host has, succeeds; \
         set net.ipv4.ip_nonlocal_bind and net.ipv6.ip_nonlocal_bind to 0, or use `network: none`"
    )]
    HostAddresses {
        /// The address that could be bound to.
        address: IpAddr,
    },
    /// The request is not one that a proxy carries.
    #[error("not a request to a proxy: {0}")]
    Request(&'static str),
    /// The policy does not allow the target.
    #[error("the proxy refused {target}: it is {reason}")]
    Refused {
        /// Host and port as the request named them, or the address it led to.
        target: String,
        /// Which rule refused it.
        reason: Refusal,
    },
    /// The name has no address, or the host's resolver does not answer.
    #[error("cannot resolve {target}")]
    Lookup {
        /// Host and port as the request named them.
        target: String,
        /// The resolver's answer.
        #[source]
        source: io::Error,
    },
    /// None of the addresses took the connection.
    #[error("cannot connect to {target}")]
    Connect {
        /// Host and port as the request named them.
        target: String,
        /// The answer of the last address that was tried.
        #[source]
        source: io::Error,
    },
    /// Resolving and connecting took too long.
    #[error("no connection to {target} within {seconds} s")]
    ConnectTimeout {
        /// Host and port as the request named them.
        target: String,
        /// The limit.
        seconds: u64,
    },
    /// The server broke off, or answered something that is not HTTP.
    #[error("no valid answer from {target}")]
    Exchange {
        /// Host and port as the request named them.
        target: String,
        /// What broke.
        #[source]
        source: hyper::Error,
    },
    /// Nothing was sent or received for too long.
    #[error("no byte moved to or from {target} for {seconds} s")]
    Idle {
        /// Host and port as the request named them.
        target: String,
        /// The limit.
        seconds: u64,
    },
}

impl Error {
    /// The kind of failure, for front doors.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Listener(_) => ErrorCode::Internal,
            Self::HostAddresses { .. } => ErrorCode::Unsupported,
            Self::Request(_) => ErrorCode::InvalidArgument,
            Self::Refused { .. } => ErrorCode::PermissionDenied,
            Self::Lookup { .. } | Self::Connect { .. } | Self::Exchange { .. } => {
                ErrorCode::Unavailable
            }
            Self::ConnectTimeout { .. } | Self::Idle { .. } => ErrorCode::DeadlineExceeded,
        }
    }

    /// The status that the client gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Refused { .. } => StatusCode::FORBIDDEN,
            Self::Lookup { .. } | Self::Connect { .. } | Self::Exchange { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout { .. } | Self::Idle { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Listener(_) | Self::HostAddresses { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The text with all causes, on one line.
    pub(crate) fn full_text(&self) -> String {
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
