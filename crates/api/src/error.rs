//! What can be wrong with what the front doors are configured with.

use sandgate_domain::ErrorCode;

/// A setting of the front doors that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The access token has another form.
    #[error("the access token must be 32 random bytes in 64 lower-case hex digits")]
    Token,
    /// The webhook secret has no characters.
    #[error("the webhook secret is empty; leave the setting away to switch webhooks off")]
    WebhookSecret,
    /// A name that no Host header can have.
    #[error("`{name}` is not a host name with an optional port, such as `gates.example.com`")]
    HostName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// The kind of error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Token | Self::WebhookSecret | Self::HostName { .. } => ErrorCode::InvalidArgument,
        }
    }
}
