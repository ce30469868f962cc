//! What handlers take from a request, each refused with a problem that says what is wrong with it.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The id in the path, parsed.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T> FromRequestParts<S> for Id<T>
where
    T: FromStr,
    T::Err: Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::invalid(format!("path: {}", rejection.body_text())))?;
        text.parse().map(Self).map_err(|error: T::Err| Problem::invalid(format!("path: {error}")))
    }
}

/// The query, each parameter known and well-formed.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|rejection| Problem::invalid(format!("query: {}", rejection.body_text())))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(no_json());
        }
        let bytes = read(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left away.
pub struct OptionalBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let bytes = read(request, state).await?;
        match (bytes.is_empty(), is_json) {
            (true, _) => Ok(Self(T::default())),
            (false, true) => parse(&bytes).map(Self),
            (false, false) => Err(no_json()),
        }
    }
}

fn no_json() -> Problem {
    let detail = "the body must be JSON, sent with `Content-Type: application/json`";
    Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

fn is_json(request: &Request) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        Problem::invalid(format!("body: {}", rejection.body_text()))
    })
}

/// A body over its limit.
pub fn too_large() -> Problem {
    let detail = "the body is larger than this route takes";
    Problem::with_status(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
        .header(header::CONNECTION, header::HeaderValue::from_static("close"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::invalid(format!("body: {error}")))
}
