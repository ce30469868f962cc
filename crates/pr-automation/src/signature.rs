//! The signature of a webhook that we post ourselves: `X-Hub-Signature-256: sha256=<HMAC-SHA256 of the body, in hex>`.
//! Those of others are verified at the front door.

use ring::hmac;

use crate::payload::hex;

/// The header value for a body.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    format!("sha256={}", hex(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation ("Validating webhook deliveries").
    #[test]
    fn the_documented_example_holds() {
        let digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signature = sign(b"It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(signature, format!("sha256={digest}"));
    }
}
