//! The signature of a webhook: HMAC-SHA256 over the bytes of the body, compared in constant time.

use axum::http::HeaderMap;

use crate::WebhookSecret;

/// The header with the signature.
pub const HEADER: &str = "x-hub-signature-256";

/// A well-formed signature, not yet verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// The one signature of a request: `sha256=` and 64 hex digits in either case. None if it is missing, doubled or has
    /// another form.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        let digits = only.as_bytes().strip_prefix(b"sha256=")?;
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |sum, digit| Some(sum << 4 | hex_value(*digit)?))?;
        }
        Some(Self(bytes))
    }

    /// Whether the body was signed with the secret.
    pub fn verifies(&self, secret: &WebhookSecret, body: &[u8]) -> bool {
        // Every key is tried, so that the time does not tell which one was good.
        let good =
            secret.keys().iter().filter(|key| ring::hmac::verify(key, body, &self.0).is_ok());
        good.count() > 0
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        headers
    }

    /// The example that GitHub gives in its documentation.
    const SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_example_verifies_in_either_case() {
        let secret = WebhookSecret::new(b"It's a Secret to Everybody").unwrap();
        let upper = format!("sha256={}", SIGNED["sha256=".len()..].to_uppercase());
        for text in [SIGNED, &upper] {
            let signature = Signature::from_headers(&headers(&[text])).unwrap();
            assert!(signature.verifies(&secret, b"Hello, World!"), "{text}");
            assert!(!signature.verifies(&secret, b"Hello, World?"), "{text}");
            assert!(!signature.verifies(&WebhookSecret::new(b"other").unwrap(), b"Hello, World!"));
        }
    }

    #[test]
    fn other_forms_are_no_signature() {
        let sha1 = "sha1=757107ea0eb2509fc211221cce984b8a37570b6d";
        for bad in [
            "",
            "sha256=",
            &SIGNED[..70],
            &SIGNED[7..],
            &format!("{SIGNED}0"),
            &format!(" {SIGNED}x"),
            &SIGNED.replace('e', "g"),
            &SIGNED.replace("sha256", "SHA256"),
            sha1,
        ] {
            assert_eq!(Signature::from_headers(&headers(&[bad])), None, "{bad}");
        }
        assert_eq!(Signature::from_headers(&headers(&[])), None);
        assert_eq!(Signature::from_headers(&headers(&[SIGNED, SIGNED])), None);
    }

    proptest! {
        #[test]
        fn one_changed_bit_never_verifies(body in proptest::collection::vec(any::<u8>(), 1..200), at: usize) {
            let secret = WebhookSecret::new(b"secret").unwrap();
            let tag = ring::hmac::sign(&secret.keys()[0], &body);
            let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            let signature = Signature::from_headers(&headers(&[&format!("sha256={digits}")])).unwrap();
            prop_assert!(signature.verifies(&secret, &body));
            let mut changed = body.clone();
            let bit = at % (body.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!signature.verifies(&secret, &changed));
        }
    }
}
