//! Step tokens: what a runner shows with every call that it makes for a step. Signed, so that a receiver without the database
//! knows which step, under which fence, and until when.
//!
//! The text is `v1.<tenant>.<run>.<step>.<fence>.<lease, in milliseconds since 1970>.<HMAC-SHA256 of all before, in hex>`.
//! It is as good as the step itself while the lease lasts: it is never logged.

mod guard;

use std::fmt;
use std::str::FromStr;

use ring::hmac;
use sandgate_domain::{ErrorCode, RunId, StepId, TenantId, Timestamp};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

pub use guard::StepGuard;

/// The metadata key that carries the token of a step.
pub const STEP_TOKEN_KEY: &str = "sandgate-step-token";

/// The first part of every token: a later form has another.
const VERSION: &str = "v1";
/// The longest text that is looked at, in bytes; every true one is shorter.
const MAX_BYTES: usize = 512;
/// Bytes of a signature.
const MAC_BYTES: usize = 32;

/// Which step is held, under which fence, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepToken {
    /// Whose step.
    pub tenant: TenantId,
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The number of the claim: of two tokens of a step, the one with the lower fence is not to be obeyed.
    pub fence: u64,
    /// Until when the step is held, to the millisecond.
    pub lease_until: Timestamp,
}

/// What signs and checks tokens: the same in all processes of an installation.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// Why a call has no valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("the call carries no step token (`{STEP_TOKEN_KEY}`)")]
    Missing,
    /// It is no token, or not of this version.
    #[error("the step token can't be read")]
    Malformed,
    /// It was not made with this key, or was changed since.
    #[error("the step token is not signed by this installation")]
    BadSignature,
    /// The lease that it tells of is over.
    #[error("the lease of the step token is over; drop this work")]
    Expired,
}

impl TokenError {
    /// What kind of failure it is.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Missing | Self::Malformed | Self::BadSignature => ErrorCode::PermissionDenied,
            Self::Expired => ErrorCode::Conflict,
        }
    }
}

impl From<TokenError> for tonic::Status {
    fn from(error: TokenError) -> Self {
        crate::status(error.code(), error.to_string())
    }
}

impl TokenKey {
    /// The key with these secret bytes: at least 32 that nobody can guess.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The signed text of a token.
    pub fn sign(&self, token: &StepToken) -> String {
        let StepToken { tenant, run, step, fence, lease_until } = token;
        let lease = lease_until.as_micros().div_euclid(1000);
        let mut text = format!("{VERSION}.{tenant}.{run}.{step}.{fence}.{lease}");
        let mac = hmac::sign(&self.0, text.as_bytes());
        text.push('.');
        for byte in mac.as_ref() {
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 0xf));
        }
        text
    }

    /// The token in a text, whose lease must not be over. The signature is compared in constant time, before anything else
    /// is read.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], [`TokenError::BadSignature`] or [`TokenError::Expired`].
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<StepToken, TokenError> {
        let token = self.verify_signature(text)?;
        if token.lease_until > now { Ok(token) } else { Err(TokenError::Expired) }
    }

    /// As [`TokenKey::verify`], for a receiver that knows from the database whether the step is still held.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] or [`TokenError::BadSignature`].
    pub fn verify_signature(&self, text: &str) -> Result<StepToken, TokenError> {
        if text.len() > MAX_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, mac) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let mac = parse_mac(mac).ok_or(TokenError::Malformed)?;
        hmac::verify(&self.0, signed.as_bytes(), &mac).map_err(|_| TokenError::BadSignature)?;
        parse(signed).ok_or(TokenError::Malformed)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(<redacted>)")
    }
}

/// The text of the step token that a call carries.
///
/// # Errors
/// [`TokenError::Missing`] without one, [`TokenError::Malformed`] if it is no text.
pub fn step_token(metadata: &MetadataMap) -> Result<&str, TokenError> {
    let value = metadata.get(STEP_TOKEN_KEY).ok_or(TokenError::Missing)?;
    value.to_str().map_err(|_| TokenError::Malformed)
}

/// A call with the step token in its metadata. A text that is no token is left out, so that the receiver misses it.
pub fn with_step_token<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Ok(mut value) = token.parse::<MetadataValue<Ascii>>() {
        value.set_sensitive(true);
        request.metadata_mut().insert(STEP_TOKEN_KEY, value);
    }
    request
}

fn parse(signed: &str) -> Option<StepToken> {
    let mut parts = signed.split('.');
    let version = parts.next()?;
    let token = StepToken {
        tenant: parts.next()?.parse().ok()?,
        run: parts.next()?.parse().ok()?,
        step: parts.next()?.parse().ok()?,
        fence: number(parts.next()?)?,
        lease_until: Timestamp::from_micros(number::<i64>(parts.next()?)?.checked_mul(1000)?),
    };
    (version == VERSION && parts.next().is_none()).then_some(token)
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn parse_mac(text: &str) -> Option<[u8; MAC_BYTES]> {
    let digits: &[u8; 2 * MAC_BYTES] = text.as_bytes().try_into().ok()?;
    let mut mac = [0; MAC_BYTES];
    for (byte, pair) in mac.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(mac)
}

/// Only small letters: two texts must not be the same token.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(nibble & 0xf)])
}

#[cfg(test)]
mod tests;
