//! Addresses, and what each kind of bad answer becomes.

use serde_json::json;

use super::*;
use crate::exit::Exit;

#[test]
fn addresses_are_read_or_refused_with_a_reason() {
    for (text, expected) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("localhost:99", "http://localhost:99"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("http://gates.example.com", "http://gates.example.com:80"),
    ] {
        assert_eq!(Address::parse(text).unwrap().to_string(), expected, "{text}");
    }
    for text in
        ["", "http://", "ftp://a:1", "http://a:1/path", "http://u:p@a:1", "a b", "http://a:99999"]
    {
        let failure = Address::parse(text).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.help.is_some()), ("invalid_argument", true));
    }
    assert_eq!(Address::parse("https://a").unwrap_err().code, "unsupported");
}

#[test]
fn every_status_and_code_has_its_exit() {
    let address = Address::parse("localhost:1").unwrap();
    for (status, code, exit) in [
        (400, Some("invalid_argument"), Exit::Usage),
        (401, Some("unauthenticated"), Exit::Denied),
        (403, Some("host_not_allowed"), Exit::Denied),
        (403, Some("permission_denied"), Exit::Denied),
        (404, Some("not_found"), Exit::NotFound),
        (405, Some("method_not_allowed"), Exit::Usage),
        (409, Some("conflict"), Exit::Conflict),
        (413, Some("payload_too_large"), Exit::Usage),
        (429, Some("resource_exhausted"), Exit::Exhausted),
        (500, Some("internal"), Exit::Failed),
        (501, Some("unsupported"), Exit::Failed),
        (503, Some("unavailable"), Exit::Unreachable),
        (504, Some("deadline_exceeded"), Exit::TimedOut),
        (404, None, Exit::NotFound),
        (418, None, Exit::Usage),
        (502, None, Exit::Unreachable),
        (301, None, Exit::Failed),
    ] {
        let problem = match code {
            Some(code) => json!({ "code": code, "detail": "why \u{1b}[31mnot" }),
            None => Value::Null,
        };
        let failure = failure_of(&problem, status, &address);
        assert_eq!(failure.exit, exit, "{status} {code:?}");
        if let Some(code) = code {
            // The server's own words about a token are for who writes requests by hand.
            let message = match status {
                401 => "http://localhost:1 does not know the access token that was sent",
                _ => "why not",
            };
            assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
        }
    }
}
