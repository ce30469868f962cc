//! Host and port that a request names, parsed strictly: what is not plainly a name or an address is refused.
//!
//! Resolvers read `0x7f.1`, `2130706433` and `0177.0.0.1` as addresses. Such spellings are refused here; and as every
//! address is judged after the lookup, one that slipped through would still lead nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::http::uri::Authority;

use crate::address::Refusal;

#[cfg(test)]
mod tests;

/// The longest name that DNS knows, with a port.
const SHOWN_CHARACTERS: usize = 260;

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// A host as a request may spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name for the resolver: letters, digits, `-`, `_` and dots.
    Name(String),
}

impl Target {
    /// Reads `host:port`; without a port it is `default_port`.
    pub(crate) fn parse(authority: &Authority, default_port: u16) -> Result<Self, Refusal> {
        if authority.as_str().contains('@') {
            return Err(Refusal::Spelling("a user name before the host"));
        }
        let host = parse_host(authority.host())?;
        let rest = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => default_port,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| Refusal::Spelling("a port that is no number"))?
            }
            Some(_) | None => return Err(Refusal::Spelling("a port that is no number")),
        };
        Ok(Self { host, port })
    }
}

/// The authority as texts may show it: without a user name or password, and not endless.
pub(crate) fn shown(authority: &Authority) -> String {
    let text = authority.as_str();
    let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
    place.chars().take(SHOWN_CHARACTERS).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port),
            Host::Address(address) => write!(formatter, "{address}:{}", self.port),
            Host::Name(name) => write!(formatter, "{name}:{}", self.port),
        }
    }
}

fn parse_host(text: &str) -> Result<Host, Refusal> {
    if let Some(rest) = text.strip_prefix('[') {
        let inner = rest.strip_suffix(']').unwrap_or_default();
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Host::Address(address.into())),
            Err(_) => Err(Refusal::Spelling("an IPv6 address that cannot be read")),
        };
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let labels = text.strip_suffix('.').unwrap_or(text);
    if labels.len() > 253 {
        return Err(Refusal::Spelling("a name of more than 253 characters"));
    }
    if !labels.split('.').all(is_label) {
        return Err(Refusal::Spelling("a name with an empty, overlong or strange part"));
    }
    if labels.rsplit('.').next().is_some_and(looks_numeric) {
        return Err(Refusal::Spelling("a number in place of a name"));
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(plain)
}

/// Whether resolvers take a host that ends so for an address (the rule of the URL standard).
fn looks_numeric(last_label: &str) -> bool {
    let digits = last_label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last_label
        .strip_prefix("0x")
        .or(last_label.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits || hexadecimal
}
