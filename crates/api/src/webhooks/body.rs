//! The body of a webhook: bounded while it is read, and a JSON object, plain or in a form.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::IgnoredAny;

use crate::extract::too_large;
use crate::problem::Problem;

/// The largest body that is taken, in bytes.
pub const MAX_BYTES: usize = 26_214_400;

/// Checks the length that a request tells, before anything of it is read.
///
/// # Errors
/// If it is over the bound.
pub fn check_told_length(headers: &HeaderMap) -> Result<(), Problem> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let is_over =
        told.and_then(|text| text.parse::<u64>().ok()).is_some_and(|told| told > MAX_BYTES as u64);
    if is_over { Err(too_large()) } else { Ok(()) }
}

/// The whole body.
///
/// # Errors
/// If it is over the bound, of which nothing more is read; if the connection broke.
pub async fn read(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, MAX_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::invalid("the body broke off").because(error.to_string())),
    }
}

/// The JSON object in a body whose signature was verified.
///
/// # Errors
/// If there is none.
pub fn json_object(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let json = if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        payload_field(&body)?
    } else {
        body
    };
    let text = std::str::from_utf8(&json)
        .map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
    match serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text) {
        Ok(_) => Ok(json),
        Err(error) if error.is_data() => Err(Problem::invalid("the body is JSON, but no object")),
        Err(error) => Err(Problem::invalid(format!("the body is not JSON: {error}"))),
    }
}

fn payload_field(body: &[u8]) -> Result<Bytes, Problem> {
    let mut payloads =
        form_urlencoded::parse(body).filter(|(name, _)| name == "payload").map(|(_, value)| value);
    match (payloads.next(), payloads.next()) {
        (Some(payload), None) => Ok(Bytes::from(payload.into_owned())),
        (None, _) => Err(Problem::invalid("the form has no field `payload`")),
        (Some(_), Some(_)) => Err(Problem::invalid("the form has the field `payload` twice")),
    }
}
