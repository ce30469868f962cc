//! The table of addresses, and what holds for all of them.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::Refusal::{
    Broadcast, LinkLocal, Loopback, Metadata, Multicast, Private, Retired, Unspecified,
};
use super::{Refusal, judge};

/// Address, verdict with private ranges closed, verdict with them open.
const TABLE: &[(&str, Option<Refusal>, Option<Refusal>)] = &[
    ("1.1.1.1", None, None),
    ("8.8.8.8", None, None),
    ("203.0.113.80", None, None),
    ("192.0.2.80", None, None),
    ("198.18.0.1", None, None),
    ("240.0.0.1", None, None),
    ("2606:4700:4700::1111", None, None),
    ("2001:db8::1", None, None),
    ("0.0.0.0", Some(Unspecified), Some(Unspecified)),
    ("0.1.2.3", Some(Unspecified), Some(Unspecified)),
    ("127.0.0.1", Some(Loopback), Some(Loopback)),
    ("127.255.255.254", Some(Loopback), Some(Loopback)),
    ("169.254.0.1", Some(LinkLocal), Some(LinkLocal)),
    ("169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
    ("169.253.255.255", None, None),
    ("169.255.0.0", None, None),
    ("100.100.100.200", Some(Metadata), Some(Metadata)),
    ("168.63.129.16", Some(Metadata), Some(Metadata)),
    ("192.0.0.192", Some(Metadata), Some(Metadata)),
    ("224.0.0.1", Some(Multicast), Some(Multicast)),
    ("239.255.255.255", Some(Multicast), Some(Multicast)),
    ("255.255.255.255", Some(Broadcast), Some(Broadcast)),
    ("9.255.255.255", None, None),
    ("10.0.0.0", Some(Private), None),
    ("10.255.255.255", Some(Private), None),
    ("11.0.0.0", None, None),
    ("172.15.255.255", None, None),
    ("172.16.0.0", Some(Private), None),
    ("172.31.255.255", Some(Private), None),
    ("172.32.0.0", None, None),
    ("192.168.0.1", Some(Private), None),
    ("100.63.255.255", None, None),
    ("100.64.0.1", Some(Private), None),
    ("100.127.255.255", Some(Private), None),
    ("100.128.0.0", None, None),
    ("::", Some(Unspecified), Some(Unspecified)),
    ("::1", Some(Loopback), Some(Loopback)),
    ("::2", Some(Retired), Some(Retired)),
    ("::127.0.0.1", Some(Retired), Some(Retired)),
    ("::ffff:127.0.0.1", Some(Loopback), Some(Loopback)),
    ("::ffff:0.0.0.0", Some(Unspecified), Some(Unspecified)),
    ("::ffff:169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
    ("::ffff:10.0.0.1", Some(Private), None),
    ("::ffff:1.1.1.1", None, None),
    ("::ffff:0:127.0.0.1", Some(Loopback), Some(Loopback)),
    ("fe80::1", Some(LinkLocal), Some(LinkLocal)),
    ("febf::1", Some(LinkLocal), Some(LinkLocal)),
    ("fec0::1", Some(Private), None),
    ("fd00:ec2::254", Some(Metadata), Some(Metadata)),
    ("fd20:ce::254", Some(Metadata), Some(Metadata)),
    ("fd00::2", Some(Private), None),
    ("fc00::1", Some(Private), None),
    ("ff02::1", Some(Multicast), Some(Multicast)),
    ("64:ff9b::8.8.8.8", None, None),
    ("64:ff9b::169.254.169.254", Some(LinkLocal), Some(LinkLocal)),
    ("64:ff9b::10.0.0.1", Some(Private), None),
    ("64:ff9b:1::8.8.8.8", Some(Private), None),
    ("64:ff9b:1::127.0.0.1", Some(Private), Some(Loopback)),
    ("2002:7f00:1::1", Some(Loopback), Some(Loopback)),
    ("2002:a00:1::1", Some(Private), None),
    ("2002:808:808::1", None, None),
];

#[test]
fn every_address_of_the_table_gets_its_verdict() {
    for (text, closed, open) in TABLE {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(judge(address, false).err(), *closed, "{text}, private ranges closed");
        assert_eq!(judge(address, true).err(), *open, "{text}, private ranges open");
    }
}

proptest! {
    #[test]
    fn a_mapped_address_is_judged_as_what_it_maps(bits: u32, private_ranges: bool) {
        let address = Ipv4Addr::from_bits(bits);
        let verdict = judge(address.into(), private_ranges);
        prop_assert_eq!(judge(address.to_ipv6_mapped().into(), private_ranges), verdict);
    }

    #[test]
    fn open_private_ranges_only_ever_turn_private_into_allowed(bits: u128) {
        for address in [IpAddr::from(bits.to_be_bytes()), Ipv4Addr::from_bits(bits as u32).into()] {
            match judge(address, false) {
                Err(Private) => {}
                verdict => prop_assert_eq!(judge(address, true), verdict),
            }
        }
    }

    #[test]
    fn nothing_of_the_hosts_inside_is_allowed(low in 0_u32..1 << 24, prefix in 0_usize..5) {
        let address = [0, 127 << 24, 0xa9fe << 16, 0xe0 << 24, 0xe5 << 24][prefix]
            | if prefix == 2 { low & 0xffff } else { low };
        prop_assert!(judge(Ipv4Addr::from_bits(address).into(), true).is_err());
    }
}
