//! What a sandbox may reach and how much of the proxy it may use.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Refusal, judge};
use crate::own;

/// What one sandbox may reach.
///
/// Whatever the policy says, loopback, link-local, metadata, multicast and the host's own addresses are refused, except
/// where [`Policy::listed`] names one exactly. Ports are 80, 443 and all from 1024 up: registries and git over HTTP use
/// these, and mail, SSH, DNS and the other services of the low ports stay out of reach.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether 10/8, 172.16/12, 192.168/16, 100.64/10 and fc00::/7 may be reached.
    pub private_ranges: bool,
    /// Addresses with port that an administrator opens; these alone are reached whatever range they lie in.
    pub listed: Vec<SocketAddr>,
    /// Bounds in time, number and size.
    pub limits: Limits,
}

/// The bounds of one proxy.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a client may take for the head of a request, and stay quiet between two requests.
    pub head: Duration,
    /// How long resolving and connecting may take together.
    pub connect: Duration,
    /// How long an exchange or a tunnel may go without a single byte in either direction.
    pub idle: Duration,
    /// How many clients are served at the same time; further ones wait in the listener's queue.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            connections: 256,
        }
    }
}

/// An address that the policy has allowed; connections are made to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged(SocketAddr);

impl Judged {
    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }
}

impl Policy {
    /// Whether the port could be allowed at all; asked before a name is looked up.
    pub(crate) fn judge_port(&self, port: u16) -> Result<(), Refusal> {
        let carried = matches!(port, 80 | 443 | 1024..);
        let listed = self.listed.iter().any(|address| address.port() == port);
        if carried || listed { Ok(()) } else { Err(Refusal::Port) }
    }

    /// Judges one address that a connection would be made to.
    pub(crate) fn judge(&self, address: SocketAddr) -> Result<Judged, Refusal> {
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        if self.listed.contains(&canonical) {
            return Ok(Judged(canonical));
        }
        if !matches!(canonical.port(), 80 | 443 | 1024..) {
            return Err(Refusal::Port);
        }
        judge(canonical.ip(), self.private_ranges)?;
        if own::belongs_to_host(canonical.ip()) {
            return Err(Refusal::OwnAddress);
        }
        Ok(Judged(canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(policy: &Policy, address: &str) -> Option<Refusal> {
        policy.judge(address.parse().unwrap()).err()
    }

    #[test]
    fn ports_below_1024_are_closed_except_web_ports() {
        let policy = Policy::default();
        for (port, allowed) in [
            (0, false),
            (22, false),
            (25, false),
            (53, false),
            (80, true),
            (443, true),
            (853, false),
            (1023, false),
            (1024, true),
            (8443, true),
            (65535, true),
        ] {
            assert_eq!(policy.judge_port(port).is_ok(), allowed, "port {port}");
            let address = SocketAddr::from(([203, 0, 113, 80], port));
            assert_eq!(policy.judge(address).is_ok(), allowed, "address {address}");
        }
    }

    #[test]
    fn a_listed_address_is_open_and_its_neighbours_are_not() {
        let policy = Policy { listed: vec!["127.0.0.1:22".parse().unwrap()], ..Policy::default() };
        assert_eq!(verdict(&policy, "127.0.0.1:22"), None);
        assert_eq!(verdict(&policy, "[::ffff:127.0.0.1]:22"), None);
        assert_eq!(policy.judge_port(22), Ok(()));
        assert_eq!(verdict(&policy, "127.0.0.1:8022"), Some(Refusal::Loopback));
        assert_eq!(verdict(&policy, "127.0.0.2:22"), Some(Refusal::Port));
        assert_eq!(verdict(&policy, "203.0.113.80:22"), Some(Refusal::Port));
    }

    #[test]
    fn what_is_connected_to_is_the_canonical_form_of_what_was_judged() {
        let judged = Policy::default().judge("[::ffff:203.0.113.80]:443".parse().unwrap());
        assert_eq!(judged.unwrap().address(), "203.0.113.80:443".parse().unwrap());
    }
}
