//! What the front doors are given by whoever composes the process.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use sandgate_domain::Clock;

use crate::{AccessToken, AllowedHosts, Error};

/// The settings of the front doors.
pub struct Config {
    /// The token that every caller but a webhook needs.
    pub token: AccessToken,
    /// The names under which the front doors may be asked for.
    pub hosts: AllowedHosts,
    /// The secret that webhooks are signed with; without it they are refused.
    pub webhook_secret: Option<WebhookSecret>,
    /// The folder that printed commands name with `--data-dir`; none leaves it out.
    pub data_dir: Option<PathBuf>,
    /// The version that is shown.
    pub version: String,
    /// For ages on pages.
    pub clock: Arc<dyn Clock>,
    /// The metrics of the other services of this process, to be shown together with ours.
    pub metrics: Registry,
}

/// The shared secrets of webhooks: the one in use, and those that a rotation has not ended yet. Never printed.
#[derive(Clone)]
pub struct WebhookSecret(Vec<ring::hmac::Key>);

impl WebhookSecret {
    /// One secret, as it was given to the forge.
    ///
    /// # Errors
    /// If it is empty: everybody could sign with it.
    pub fn new(secret: &[u8]) -> Result<Self, Error> {
        Self::any_of([secret])
    }

    /// Several secrets, any of which is good.
    ///
    /// # Errors
    /// If one is empty, or there is none: everybody could sign with it.
    pub fn any_of<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let key = |secret: &[u8]| ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let mut keys = Vec::new();
        for secret in secrets {
            if secret.is_empty() {
                return Err(Error::WebhookSecret);
            }
            keys.push(key(secret));
        }
        if keys.is_empty() {
            return Err(Error::WebhookSecret);
        }
        Ok(Self(keys))
    }

    pub(crate) fn keys(&self) -> &[ring::hmac::Key] {
        &self.0
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WebhookSecret")
    }
}
