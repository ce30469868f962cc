//! Who may call what: one table of routes, checked before any handler runs. A route without an entry is closed.

pub mod hosts;
pub mod login;
pub mod table;
pub mod token;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::dashboard;
use crate::problem::Problem;
use crate::router::App;
use table::{Access, Lookup};

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Bearer,
    Cookie,
}

/// Lets a request through to its handler, or answers why not.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned())
    else {
        return next.run(request).await;
    };
    let access = match table::lookup(request.method(), &path) {
        Lookup::Entry(access) => access,
        Lookup::OtherMethods(allowed) => return method_not_allowed(allowed).into_response(),
        Lookup::Nothing => return closed().into_response(),
    };
    match check(&app, access, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) if access == Access::Page => dashboard::error_page(&app, problem),
        Err(problem) => problem.into_response(),
    }
}

fn check(app: &App, access: Access, request: &Request) -> Result<(), Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    match access {
        Access::Open | Access::Signature => Ok(()),
        Access::Login => {
            app.config.hosts.check_host(uri, headers)?;
            if is_change { hosts::check_origin(uri, headers, true) } else { Ok(()) }
        }
        Access::OpenOnLoopback if app.config.hosts.is_loopback() => {
            app.config.hosts.check_host(uri, headers)
        }
        Access::OpenOnLoopback | Access::Token | Access::Page => {
            app.config.hosts.check_host(uri, headers)?;
            let proof = authenticate(app, headers)?;
            if is_change {
                return hosts::check_origin(uri, headers, proof == Proof::Cookie);
            }
            Ok(())
        }
    }
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<Proof, Problem> {
    let token = &app.config.token;
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(first) = authorizations.next() {
        let is_good = authorizations.next().is_none()
            && bearer(first).is_some_and(|presented| token.is(presented));
        return if is_good { Ok(Proof::Bearer) } else { Err(unauthenticated()) };
    }
    if login::sessions(headers, app.config.hosts.port()).any(|session| token.is_session(session)) {
        return Ok(Proof::Cookie);
    }
    Err(unauthenticated())
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated() -> Problem {
    Problem::with_status(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "send the access token as `Authorization: Bearer …`, or open the login link that the server printed when it started; \
         the token is the only line of the file `token` in its data folder",
    )
    .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn method_not_allowed(allowed: String) -> Problem {
    let detail = format!("this route takes {allowed}");
    let problem =
        Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    match HeaderValue::from_str(&allowed) {
        Ok(value) => problem.header(header::ALLOW, value),
        Err(_) => problem,
    }
}

fn closed() -> Problem {
    Problem::with_status(
        StatusCode::FORBIDDEN,
        "permission_denied",
        "nobody is allowed to call this route",
    )
}
