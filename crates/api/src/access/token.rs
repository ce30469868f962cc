//! The access token and the session that a login link makes from it; both compared in constant time.

use ring::hmac::{HMAC_SHA256, Key, Tag, sign, verify};

use crate::Error;

/// What is authenticated with a presented token, so that neither its length nor its bytes show in the time taken.
const PURPOSE: &[u8] = b"sandgate access token";
/// What is signed with the token to make the value of the session cookie.
const SESSION: &[u8] = b"sandgate session";

/// The token that lets a caller in. Only a digest of it is kept; never printed.
#[derive(Clone)]
pub struct AccessToken {
    proof: Tag,
    session: String,
}

impl AccessToken {
    /// The token in its text form: 64 lower-case hex digits.
    ///
    /// # Errors
    /// If it has another form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_token =
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_token {
            return Err(Error::Token);
        }
        let key = Key::new(HMAC_SHA256, text.as_bytes());
        Ok(Self { proof: sign(&key, PURPOSE), session: hex(sign(&key, SESSION).as_ref()) })
    }

    /// Whether this is the token.
    pub(crate) fn is(&self, presented: &str) -> bool {
        verify(&Key::new(HMAC_SHA256, presented.as_bytes()), PURPOSE, self.proof.as_ref()).is_ok()
    }

    /// The value of the cookie that stands for the token; the token can't be told from it.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// Whether this is the value of the cookie.
    pub(crate) fn is_session(&self, presented: &str) -> bool {
        let expected = sign(&Key::new(HMAC_SHA256, self.session.as_bytes()), PURPOSE);
        let key = Key::new(HMAC_SHA256, presented.as_bytes());
        verify(&key, PURPOSE, expected.as_ref()).is_ok()
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessToken")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let text = "0123456789abcdef".repeat(4);
        let token = AccessToken::parse(&text).unwrap();
        assert!(token.is(&text));
        assert!(token.is_session(token.session()));
        for wrong in
            ["", "0", &text[1..], &text.to_uppercase(), &format!("{text}0"), token.session()]
        {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(!token.is_session(&text));
        assert!(!format!("{token:?}").contains(&text));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert_eq!(AccessToken::parse(text).unwrap_err(), Error::Token, "{text}");
        }
    }
}
