//! The signature of a webhook: `X-Hub-Signature-256: sha256=<HMAC-SHA256 of the body, in hex>`.
//!
//! It is checked over the bytes as they came, before anything is parsed. Several secrets may be live, so that one can be
//! replaced without losing a delivery. Whatever is wrong with a signature, the answer is the same.

use std::fmt::{self, Write};

use ring::hmac;

const SCHEME: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// The signature does not hold. Deliberately without a reason: a sender learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature of the delivery is missing or wrong")]
pub struct BadSignature;

/// There is nothing to check signatures with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no webhook secret is set, or an empty one: set `webhooks.github.secrets` (or GITHUB_WEBHOOK_SECRET)"
)]
pub struct NoSecret;

/// The webhook secrets that are live now: at least one, none of them empty.
#[derive(Clone)]
pub struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Takes all live secrets. An empty one is refused: everybody knows it.
    pub fn new<T: AsRef<[u8]>>(secrets: impl IntoIterator<Item = T>) -> Result<Self, NoSecret> {
        let mut keys = Vec::new();
        for secret in secrets {
            if secret.as_ref().is_empty() {
                return Err(NoSecret);
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()));
        }
        if keys.is_empty() { Err(NoSecret) } else { Ok(Self(keys)) }
    }

    /// Checks a body against every value that the request has under `X-Hub-Signature-256`: exactly one must be there.
    /// Every secret is tried, in constant time each.
    pub fn verify(&self, signatures: &[&[u8]], body: &[u8]) -> Result<(), BadSignature> {
        let [signature] = signatures else { return Err(BadSignature) };
        let digest = parse(signature).ok_or(BadSignature)?;
        let matching = self.0.iter().filter(|key| hmac::verify(key, body, &digest).is_ok());
        if matching.count() > 0 { Ok(()) } else { Err(BadSignature) }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secrets({})", self.0.len())
    }
}

/// The header value for a body: for deliveries that we post ourselves.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    tag.as_ref().iter().fold(SCHEME.to_owned(), |mut text, byte| {
        // Writing into a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse(signature: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let digits = signature.strip_prefix(SCHEME.as_bytes())?;
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    let mut digest = [0; DIGEST_BYTES];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(digest)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of GitHub's documentation ("Validating webhook deliveries").
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn check(signatures: &[&str]) -> Result<(), BadSignature> {
        let signatures: Vec<&[u8]> = signatures.iter().map(|text| text.as_bytes()).collect();
        Secrets::new([b"older".as_slice(), SECRET]).unwrap().verify(&signatures, BODY)
    }

    #[test]
    fn the_documented_example_holds_in_either_case() {
        let good = format!("sha256={DIGEST}");
        assert_eq!(sign(SECRET, BODY), good);
        assert_eq!(check(&[&good]), Ok(()));
        assert_eq!(check(&[&format!("sha256={}", DIGEST.to_uppercase())]), Ok(()));
    }

    #[test]
    fn everything_else_gets_one_answer() {
        let good = format!("sha256={DIGEST}");
        let longer = format!("{good}00");
        let with_blank = format!(" {good}");
        let listed = format!("{good}, {good}");
        let sha1 = format!("sha1={DIGEST}");
        let upper_scheme = format!("SHA256={DIGEST}");
        let other = sign(b"another secret", BODY);
        for bad in [
            vec![],
            vec![good.as_str(), good.as_str()],
            vec![good.as_str(), "sha256=00"],
            vec![""],
            vec!["sha256="],
            vec![DIGEST],
            vec![&good[..good.len() - 1]],
            vec![&good[..good.len() - 2]],
            vec![&longer],
            vec![&with_blank],
            vec![&listed],
            vec![&sha1],
            vec![&upper_scheme],
            vec![&other],
            vec!["sha256=zz7107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"],
        ] {
            assert_eq!(check(&bad), Err(BadSignature), "{bad:?}");
        }
    }

    #[test]
    fn any_live_secret_counts_and_an_empty_one_is_refused() {
        for secret in [b"older".as_slice(), SECRET] {
            assert_eq!(check(&[&sign(secret, BODY)]), Ok(()));
        }
        assert!(Secrets::new(Vec::<&[u8]>::new()).is_err());
        assert!(Secrets::new([b"a".as_slice(), b""]).is_err());
        let shown = format!("{:?}", Secrets::new([SECRET]).unwrap());
        assert!(!shown.contains("Secret to"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_header_is_an_answer(header: Vec<u8>, body: Vec<u8>, flip in 0_usize..64) {
            let secrets = Secrets::new([SECRET]).unwrap();
            prop_assert!(secrets.verify(&[&header], &body).is_err());
            let mut signature = sign(SECRET, &body).into_bytes();
            prop_assert!(secrets.verify(&[&signature], &body).is_ok());
            let digit = &mut signature[SCHEME.len() + flip];
            *digit = if *digit == b'0' { b'1' } else { b'0' };
            prop_assert!(secrets.verify(&[&signature], &body).is_err());
        }
    }
}
