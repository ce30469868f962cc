//! Errors as RFC 9457 problems with a stable code: the one form in which anything but success is answered.

use axum::Json;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use sandgate_domain::ErrorCode;
use serde::Serialize;
use tonic::Status;
use utoipa::ToSchema;

/// After how many seconds a caller should try again when something was not reachable.
const RETRY_AFTER_SECONDS: u64 = 5;

/// An error as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A name for the kind of problem, as a URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong, and what to do.
    pub detail: String,
    /// The stable code, such as `not_found`.
    pub code: &'static str,
    #[serde(skip)]
    extra: Box<Extra>,
}

/// What a problem carries beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extra {
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Cause>,
}

/// What is logged about a failed request and not shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(pub String);

/// The code of a failed request, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Code(pub &'static str);

impl Problem {
    /// A problem of one of the nine kinds.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let status = http_status(code);
        let problem = Self::with_status(status, code.as_str(), detail);
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            return problem.header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        problem
    }

    /// Wrong input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, detail)
    }

    /// A problem that only HTTP knows, under its own stable code.
    pub fn with_status(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:sandgate:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            extra: Box::default(),
        }
    }

    /// The same with a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extra.headers.push((name, value));
        self
    }

    /// The same with something for the log.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.extra.cause = Some(Cause(cause.into()));
        self
    }

    /// What is logged, else what is shown.
    pub fn cause_text(&self) -> &str {
        self.extra.cause.as_ref().map_or(&self.detail, |cause| &cause.0)
    }

    /// The HTTP status.
    pub fn http_status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Puts status, headers and what is logged on a response with any body.
    pub fn apply(self, mut response: Response) -> Response {
        *response.status_mut() = self.http_status();
        response.headers_mut().extend(self.extra.headers);
        response.extensions_mut().insert(Code(self.code));
        if let Some(cause) = self.extra.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

/// The HTTP status of a code.
pub fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let code = sandgate_wire::error_code(&status);
        let cause = format!("{:?}: {}", status.code(), status.message());
        if code == ErrorCode::Internal {
            let detail = "something failed on our side; the log of the server says what";
            return Self::new(code, detail).because(cause);
        }
        Self::new(code, status.message()).because(cause)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Json(&self).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        self.apply(response)
    }
}
