//! The login link: the token becomes a session cookie, and leaves the address bar at once.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::dashboard;
use crate::extract::Params;
use crate::problem::Problem;
use crate::router::App;

/// The start of the name of the session cookie. The port is the rest: browsers share cookies between the ports of a host,
/// and two servers on one machine must not end each other's sessions.
const COOKIE: &str = "sandgate_session_";

/// What a login link or form carries.
#[derive(Deserialize, Default)]
pub struct Credentials {
    token: Option<String>,
}

/// `GET /login`: the link with a token, or the form that asks for one.
pub async fn link(
    State(app): State<Arc<App>>,
    credentials: Result<Params<Credentials>, Problem>,
) -> Response {
    match credentials {
        Ok(Params(Credentials { token: Some(token) })) => enter(&app, &token),
        Ok(Params(Credentials { token: None })) => dashboard::login_page(&app),
        Err(problem) => dashboard::error_page(&app, problem),
    }
}

/// `POST /login`: the form.
pub async fn form(
    State(app): State<Arc<App>>,
    credentials: Result<Form<Credentials>, FormRejection>,
) -> Response {
    match credentials {
        Ok(Form(credentials)) => enter(&app, credentials.token.unwrap_or_default().trim()),
        Err(_) => dashboard::error_page(&app, Problem::invalid("the form must hold `token`")),
    }
}

/// The values of the session cookies of a request.
pub fn sessions(headers: &HeaderMap, port: u16) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(move |(name, value)| {
            let is_ours = name.strip_prefix(COOKIE).is_some_and(|rest| rest == port.to_string());
            is_ours.then_some(value)
        })
}

fn enter(app: &App, token: &str) -> Response {
    if !app.config.token.is(token) {
        let detail = "this is not the access token; it is the only line of the file `token` in the data folder of the server";
        let problem = Problem::with_status(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        return dashboard::error_page(app, problem);
    }
    let session = app.config.token.session();
    let port = app.config.hosts.port();
    let cookie = format!("{COOKIE}{port}={session}; Path=/; HttpOnly; SameSite=Lax");
    let mut response = Redirect::to("/runs").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
