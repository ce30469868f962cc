//! JSON as it is, or in the field `payload` of a form: both are ways in which forges post.

use std::borrow::Cow;

use super::malformed;
use crate::answer::Answer;

/// Finds the JSON object. What the body looks like decides, not the header beside it: a plain `curl --data` calls
/// everything a form.
pub(super) fn json_of(body: &[u8]) -> Result<Cow<'_, [u8]>, Answer> {
    if first_byte(body) == Some(b'{') {
        return Ok(Cow::Borrowed(body));
    }
    let mut values =
        form_urlencoded::parse(body).filter(|(name, _)| name == "payload").map(|(_, value)| value);
    let value = values.next().ok_or_else(|| no_object(body))?;
    if values.next().is_some() {
        return Err(malformed("the form has the field `payload` twice"));
    }
    let json = value.into_owned().into_bytes();
    if first_byte(&json) == Some(b'{') { Ok(Cow::Owned(json)) } else { Err(no_object(&json)) }
}

fn first_byte(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn no_object(text: &[u8]) -> Answer {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    malformed(if is_json { "the body is JSON, but not an object" } else { "the body is not JSON" })
}
