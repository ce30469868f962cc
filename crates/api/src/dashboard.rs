//! Pages: rendered here, escaped by the templates, alive through one small script. They show what REST answers.

mod assets;
mod deliveries;
mod escape;
mod gate;
mod pulls;
mod run;
mod runs;
mod sandboxes;
mod snapshots;
mod view;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use sandgate_domain::ErrorCode;

use crate::problem::Problem;
use crate::router::App;
use crate::text::shell_word;

/// The routes of all pages.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || Redirect::to("/runs")))
        .route("/runs", get(runs::page))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/live", get(run::live))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/runs/{id}/rerun", post(run::rerun))
        .route("/gates/{id}", get(gate::page))
        .route("/snapshots", get(snapshots::page))
        .route("/sandboxes", get(sandboxes::page))
        .route("/deliveries", get(deliveries::page))
        .route("/deliveries/{id}/redeliver", post(deliveries::redeliver))
        .route("/pull-requests", get(pulls::list))
        .route("/pull-requests/{id}", get(pulls::page))
        .route("/pull-requests/{id}/approve", post(pulls::approve))
        .route("/assets/{name}", get(assets::asset))
}

/// What every page has around its content.
struct Frame {
    section: &'static str,
    version: String,
}

impl Frame {
    fn new(app: &App, section: &'static str) -> Self {
        Self { section, version: app.config.version.clone() }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    title: &'static str,
    detail: String,
    code: &'static str,
    is_login: bool,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
}

/// A problem as a page.
pub fn error_page(app: &App, problem: Problem) -> Response {
    let page = ErrorPage {
        frame: Frame::new(app, ""),
        title: problem.title,
        detail: problem.detail.clone(),
        code: problem.code,
        is_login: problem.status == 401,
    };
    match page.render() {
        Ok(html) => problem.apply(Html(html).into_response()),
        Err(error) => unrendered(&error).into_response(),
    }
}

/// The form that asks for the token.
pub fn login_page(app: &App) -> Response {
    answer(app, render(&LoginPage { frame: Frame::new(app, "") }))
}

fn answer(app: &App, page: Result<Response, Problem>) -> Response {
    page.unwrap_or_else(|problem| error_page(app, problem))
}

fn render(page: &impl Template) -> Result<Response, Problem> {
    page.render().map(|html| Html(html).into_response()).map_err(|error| unrendered(&error))
}

fn unrendered(error: &askama::Error) -> Problem {
    Problem::new(ErrorCode::Internal, "the page can't be shown").because(error.to_string())
}

/// A command line of ours: its words quoted, with the data folder that this server works on.
fn command(app: &App, words: &[&str]) -> String {
    let mut line = vec!["sandgate".to_owned()];
    line.extend(words.iter().map(|word| shell_word(word)));
    if let Some(folder) = &app.config.data_dir {
        line.push("--data-dir".to_owned());
        line.push(shell_word(&folder.to_string_lossy()));
    }
    line.join(" ")
}

/// A path whose last part may hold anything.
fn path(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |path, part| {
        let encoded: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
        // A plus is a space in a query only.
        path + "/" + &encoded.replace('+', "%20")
    })
}

/// A link to the same list with other parameters; those without a value are left away.
fn link(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
