//! Which addresses belong to the host, asked of the kernel: a socket can bind to an address only if it is local.
//!
//! This also sees what a list of interfaces does not: whole ranges that are routed to the host as local.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::error::Error;

/// Addresses that no host has: of the reserved class E, and of the discard prefix (RFC 6666).
const NOBODYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)),
];

/// Fails on a host where every address can be bound to, so that binding tells nothing (`ip_nonlocal_bind`).
pub(crate) fn check() -> Result<(), Error> {
    match NOBODYS.into_iter().find(|address| matches!(bind(*address), Ok(()))) {
        Some(address) => Err(Error::HostAddresses { address }),
        None => Ok(()),
    }
}

/// Whether `address` is one of the host's own; an answer that cannot be had counts as yes.
pub(crate) fn belongs_to_host(address: IpAddr) -> bool {
    !matches!(bind(address), Err(ErrorKind::AddrNotAvailable))
}

/// Binds a socket that never listens to a free port of the address, and closes it.
fn bind(address: IpAddr) -> Result<(), ErrorKind> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bound = socket.and_then(|socket| socket.bind(SocketAddr::new(address, 0)));
    bound.map_err(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_hosts_addresses_are_told_from_others() {
        check().unwrap();
        assert!(belongs_to_host([127, 0, 0, 1].into()));
        assert!(belongs_to_host([127, 9, 9, 9].into()));
        for address in NOBODYS.into_iter().chain([[203, 0, 113, 80].into(), [8, 8, 8, 8].into()]) {
            assert!(!belongs_to_host(address), "{address}");
        }
    }

    #[test]
    fn the_address_that_the_host_uses_towards_the_outside_is_its_own() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if let Err(error) = socket.connect("203.0.113.80:443") {
            println!("skipped: this machine has no route to the outside: {error}");
            return;
        }
        let outward = socket.local_addr().unwrap().ip();
        assert!(belongs_to_host(outward), "{outward}");
    }
}
