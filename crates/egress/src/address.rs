//! Which addresses a sandbox may reach: one pure function over the special ranges of IPv4 and IPv6.
//!
//! The host's own addresses are not known here; `own` asks the kernel for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// Why the proxy does not connect a request; the text completes "the proxy refused example.com:22: it is …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// 127.0.0.0/8, ::1.
    #[error("loopback, the host's inside; a sandbox reaches its own 127.0.0.1 without the proxy")]
    Loopback,
    /// 0.0.0.0/8, ::.
    #[error("an unspecified address, which means the host itself")]
    Unspecified,
    /// 169.254.0.0/16, fe80::/10.
    #[error("link-local, where cloud metadata lives")]
    LinkLocal,
    /// A metadata service that lies outside of the link-local ranges.
    #[error("a cloud metadata address")]
    Metadata,
    /// 224.0.0.0/4, ff00::/8.
    #[error("a multicast address")]
    Multicast,
    /// 255.255.255.255.
    #[error("the broadcast address")]
    Broadcast,
    /// ::/96, the retired IPv4-compatible form.
    #[error("an IPv4-compatible IPv6 address, which nothing uses any more")]
    Retired,
    /// A private range, where the policy keeps these closed.
    #[error("private, and private ranges are closed to this sandbox; an administrator can list it")]
    Private,
    /// An address of one of the host's interfaces.
    #[error("an address of the host that runs the sandbox")]
    OwnAddress,
    /// A port that the proxy does not carry.
    #[error(
        "on a port that the proxy does not carry; it carries 80, 443 and all from 1024 up (for git take an https address)"
    )]
    Port,
    /// The host is not a plain name, a dotted IPv4 address or a bracketed IPv6 address.
    #[error("spelled unusually ({0}); write a plain host name, 192.0.2.1 or [2001:db8::1]")]
    Spelling(&'static str),
}

/// Metadata services outside of 169.254.0.0/16: Alibaba, Azure's wire server, Oracle's old one.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Metadata services over IPv6: AWS and Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether a sandbox may be connected to `address`, by the range it lies in.
///
/// IPv6 forms that carry an IPv4 address are judged by what they carry. Ranges that are neither global nor named here
/// (documentation, benchmarking, 240.0.0.0/4) are ordinary: registries of companies live in them.
pub fn judge(address: IpAddr, private_ranges: bool) -> Result<(), Refusal> {
    match address.to_canonical() {
        IpAddr::V4(address) => judge_v4(address, private_ranges),
        IpAddr::V6(address) => judge_v6(address, private_ranges),
    }
}

fn judge_v4(address: Ipv4Addr, private_ranges: bool) -> Result<(), Refusal> {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let rules = [
        (first == 0, Refusal::Unspecified),
        (address.is_loopback(), Refusal::Loopback),
        (address.is_link_local(), Refusal::LinkLocal),
        (METADATA_V4.contains(&address), Refusal::Metadata),
        (address.is_multicast(), Refusal::Multicast),
        (address.is_broadcast(), Refusal::Broadcast),
        (!private_ranges && (address.is_private() || shared), Refusal::Private),
    ];
    first_that_holds(rules)
}

fn judge_v6(address: Ipv6Addr, private_ranges: bool) -> Result<(), Refusal> {
    let segments = address.segments();
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    let local_nat64 = segments[..3] == [0x64, 0xff9b, 1];
    let private = address.is_unique_local() || site_local || local_nat64;
    first_that_holds([
        (address.is_unspecified(), Refusal::Unspecified),
        (address.is_loopback(), Refusal::Loopback),
        (address.is_unicast_link_local(), Refusal::LinkLocal),
        (METADATA_V6.contains(&address), Refusal::Metadata),
        (address.is_multicast(), Refusal::Multicast),
        (segments[..6] == [0; 6], Refusal::Retired),
        (!private_ranges && private, Refusal::Private),
    ])?;
    carried_v4(address).map_or(Ok(()), |carried| judge_v4(carried, private_ranges))
}

/// The IPv4 address that a translator on the way would reach instead of this address.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |start: usize| {
        Ipv4Addr::new(octets[start], octets[start + 1], octets[start + 2], octets[start + 3])
    };
    match address.segments() {
        // NAT64: RFC 6052, and RFC 8215 with the usual 96-bit prefix.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(at(12)),
        // IPv4-translated, RFC 2765.
        [0, 0, 0, 0, 0xffff, 0, ..] => Some(at(12)),
        // 6to4, RFC 3056.
        [0x2002, ..] => Some(at(2)),
        _ => None,
    }
}

fn first_that_holds(rules: [(bool, Refusal); 7]) -> Result<(), Refusal> {
    match rules.into_iter().find(|(holds, _)| *holds) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}
