//! The table of spellings.

use proptest::prelude::*;

use super::{Host, Target, shown};
use crate::address::Refusal;

fn parse(text: &str) -> Option<Result<Target, Refusal>> {
    Some(Target::parse(&text.parse().ok()?, 80))
}

#[test]
fn plain_names_and_addresses_are_read() {
    for (text, shown) in [
        ("example.com", "example.com:80"),
        ("Example.COM:443", "example.com:443"),
        ("example.com.:443", "example.com.:443"),
        ("my_registry.corp-1:8443", "my_registry.corp-1:8443"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example:80"),
        ("localhost:1", "localhost:1"),
        ("3com.com", "3com.com:80"),
        ("0x7f.com", "0x7f.com:80"),
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
        ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]:80"),
        ("example.com:00443", "example.com:443"),
    ] {
        assert_eq!(parse(text).unwrap().unwrap().to_string(), shown, "{text}");
    }
}

#[test]
fn unusual_spellings_are_refused() {
    for text in [
        "2130706433",
        "2130706433:80",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0.0.1",
        "0x",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.1.:80",
        "1.2.3.4.5",
        "256.256.256.256",
        "example.com.0x10",
        "example.123",
        "example..com",
        ".example.com",
        "example.com..",
        ".",
        "user@example.com",
        "user:pass@127.0.0.1:80",
        "example.com:99999",
        "example.com:",
        "example.com:+80",
        "example.com:80x",
        "[::1",
        "[]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:127.0.0.1]x",
        "[v1.abc]",
        "%31%32%37.0.0.1",
        "127.0.0.1%00.example.com",
        "exa!mple.com",
        "bücher.example",
        "１２７.0.0.1",
        "127。0。0。1",
        "",
    ] {
        // Nothing to parse: the HTTP parser itself refuses it before this crate sees it.
        if let Some(parsed) = parse(text) {
            assert!(matches!(parsed, Err(Refusal::Spelling(_))), "{text}: {parsed:?}");
        }
    }
    let label = "a".repeat(64);
    assert!(parse(&format!("{label}.com")).unwrap().is_err());
    assert!(parse(&"a.".repeat(128)).unwrap().is_err());
    assert!(parse(&"a.".repeat(127)).unwrap().is_ok());
}

#[test]
fn a_text_shows_neither_password_nor_endless_names() {
    assert_eq!(shown(&"user:secret@example.com:80".parse().unwrap()), "example.com:80");
    assert_eq!(shown(&"a".repeat(5000).parse().unwrap()).len(), 260);
}

proptest! {
    #[test]
    fn any_text_is_answered_and_names_stay_plain(text in "[ -~]{0,80}") {
        if let Some(Ok(Target { host: Host::Name(name), .. })) = parse(&text) {
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
            prop_assert!(name.parse::<std::net::IpAddr>().is_err());
        }
    }

    #[test]
    fn numbers_with_dots_are_addresses_or_refused(text in "(0x)?[0-9]{1,12}(\\.(0x)?[0-9]{1,4}){0,4}\\.?") {
        if let Some(Ok(target)) = parse(&text) {
            prop_assert!(matches!(target.host, Host::Address(_)), "{}", target);
        }
    }
}
