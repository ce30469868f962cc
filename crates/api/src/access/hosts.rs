//! Which Host headers are answered, against pages of other sites whose names were rebound to our address; and which origins
//! may change something.

use std::net::SocketAddr;

use axum::http::header::{self, HeaderMap};
use axum::http::{StatusCode, Uri, uri::Authority};

use crate::Error;
use crate::problem::Problem;

/// The names under which the front doors may be asked for: the bound address, and configured ones.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    bound: SocketAddr,
    names: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    host: String,
    /// None: under any port.
    port: Option<u16>,
}

impl AllowedHosts {
    /// The names of the address that was bound, and the configured names, each with or without a port.
    ///
    /// # Errors
    /// If a configured name can't be one.
    pub fn new(bound: SocketAddr, configured: &[String]) -> Result<Self, Error> {
        let host = match bound {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let mut names = vec![Name { host, port: Some(bound.port()) }];
        if bound.ip().is_loopback() {
            names.push(Name { host: "localhost".to_owned(), port: Some(bound.port()) });
        }
        for name in configured {
            names.push(Name::parse(name).ok_or_else(|| Error::HostName { name: name.clone() })?);
        }
        Ok(Self { bound, names })
    }

    /// Whether only this machine can reach us.
    pub(crate) fn is_loopback(&self) -> bool {
        self.bound.ip().is_loopback()
    }

    /// The port that was bound.
    pub(crate) fn port(&self) -> u16 {
        self.bound.port()
    }

    fn allows(&self, asked: &Name) -> bool {
        self.names.iter().any(|name| {
            let same_port = match name.port {
                Some(port) => asked.port.unwrap_or(80) == port,
                None => true,
            };
            name.host == asked.host && same_port
        })
    }

    /// Checks the host that a request asks for.
    ///
    /// # Errors
    /// If it is missing, doubled, or not one of ours.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let asked = asked_host(uri, headers);
        if asked.as_ref().is_some_and(|name| self.allows(name)) {
            return Ok(());
        }
        Err(Problem::with_status(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "this server is not known under the name in the Host header; ask for the address that it printed, or add the \
             name to its configured hosts",
        ))
    }
}

/// Checks that a request that changes something comes from our own pages, if it comes from a page at all.
///
/// # Errors
/// If its origin is another site, or hidden; or missing where a cookie speaks for the caller.
pub fn check_origin(uri: &Uri, headers: &HeaderMap, by_cookie: bool) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let is_own = match (origins.next(), origins.next()) {
        (None, _) => !by_cookie,
        (Some(origin), None) => {
            let authority = origin.to_str().ok().and_then(|text| {
                text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))
            });
            authority.is_some_and(|text| Name::parse(text) == asked_host(uri, headers))
        }
        (Some(_), Some(_)) => false,
    };
    if is_own {
        return Ok(());
    }
    Err(Problem::with_status(
        StatusCode::FORBIDDEN,
        "origin_not_allowed",
        "requests that change something are taken from our own pages or with a bearer token, not from other sites",
    ))
}

fn asked_host(uri: &Uri, headers: &HeaderMap) -> Option<Name> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), uri.authority()) {
        (Some(host), None, _) => Name::parse(host.to_str().ok()?),
        // HTTP/2 names the host in the request line.
        (None, None, Some(authority)) => Name::parse(authority.as_str()),
        (None, None, None) | (Some(_), Some(_), _) | (None, Some(_), _) => None,
    }
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host().to_ascii_lowercase();
        let has_only_host_and_port = !text.contains('@') && !host.is_empty();
        let port = match text.get(host.len()..)? {
            "" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        has_only_host_and_port.then_some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str, configured: &[&str]) -> AllowedHosts {
        let configured: Vec<String> = configured.iter().map(|name| (*name).to_owned()).collect();
        AllowedHosts::new(bound.parse().unwrap(), &configured).unwrap()
    }

    fn answers(hosts: &AllowedHosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        hosts.check_host(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn the_bound_address_and_configured_names_are_answered() {
        let own = hosts("127.0.0.1:8080", &["gates.example.com", "other.example.com:444"]);
        for good in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "gates.example.com",
            "gates.example.com:9",
            "other.example.com:444",
        ] {
            assert!(answers(&own, good), "{good}");
        }
        for bad in [
            "evil.example.com",
            "127.0.0.1",
            "127.0.0.1:8081",
            "localhost",
            "other.example.com",
            "gates.example.com.evil.com",
            "user@localhost:8080",
            "localhost:8080:8080",
            "localhost:",
            "",
        ] {
            assert!(!answers(&own, bad), "{bad}");
        }
        assert!(answers(&hosts("[::1]:80", &[]), "[::1]"));
        assert!(answers(&hosts("[::1]:81", &[]), "[::1]:81"));
    }

    #[test]
    fn a_missing_or_doubled_host_is_refused() {
        let own = hosts("127.0.0.1:8080", &[]);
        let mut headers = HeaderMap::new();
        assert!(own.check_host(&Uri::from_static("/"), &headers).is_err());
        headers.append(header::HOST, "localhost:8080".parse().unwrap());
        headers.append(header::HOST, "localhost:8080".parse().unwrap());
        assert!(own.check_host(&Uri::from_static("/"), &headers).is_err());
    }

    #[test]
    fn names_that_can_not_be_hosts_are_refused() {
        for name in ["", "a b", "http://x", "x/y", "u@x", "x:port"] {
            let made = AllowedHosts::new("127.0.0.1:1".parse().unwrap(), &[name.to_owned()]);
            assert_eq!(made.unwrap_err(), Error::HostName { name: name.to_owned() });
        }
    }

    #[test]
    fn only_our_own_origin_changes_something() {
        let with = |origin: Option<&str>, by_cookie| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            check_origin(&Uri::from_static("/"), &headers, by_cookie).is_ok()
        };
        assert!(with(Some("http://localhost:8080"), true));
        assert!(with(None, false));
        assert!(!with(None, true));
        for other in ["http://evil.example", "null", "http://localhost:8081", "localhost:8080", ""]
        {
            assert!(!with(Some(other), false), "{other}");
            assert!(!with(Some(other), true), "{other}");
        }
    }
}
