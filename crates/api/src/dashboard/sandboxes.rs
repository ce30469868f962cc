//! The sandboxes that live now, and what they work for.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::view::{Mark, Moment, mark};
use super::{Frame, answer, link, path, render};
use crate::extract::Params;
use crate::problem::Problem;
use crate::rest::page::PageQuery;
use crate::rest::sandboxes::{SandboxItem, find};
use crate::router::App;

#[derive(Template)]
#[template(path = "sandboxes.html")]
struct SandboxesPage {
    frame: Frame,
    rows: Vec<Row>,
    query: PageQuery,
    next: Option<String>,
}

struct Row {
    id: String,
    node: String,
    run_link: Option<String>,
    gate_link: Option<String>,
    mark: &'static Mark,
    created: Moment,
}

/// `GET /sandboxes`.
pub async fn page(
    State(app): State<Arc<App>>,
    query: Result<Params<PageQuery>, Problem>,
) -> Response {
    let page = match query {
        Ok(Params(query)) => list(&app, query).await,
        Err(problem) => Err(problem),
    };
    answer(&app, page)
}

async fn list(app: &App, query: PageQuery) -> Result<Response, Problem> {
    let page = find(app, query.clone()).await?;
    let size = query.page_size.map(|size| size.to_string());
    render(&SandboxesPage {
        frame: Frame::new(app, "sandboxes"),
        rows: page.items.into_iter().map(|sandbox| row(app, sandbox)).collect(),
        next: page.next_page_token.map(|token| {
            link("/sandboxes", &[("pageSize", size.as_deref()), ("pageToken", Some(&token))])
        }),
        query,
    })
}

fn row(app: &App, sandbox: SandboxItem) -> Row {
    Row {
        run_link: sandbox.run.map(|run| path(&["runs", &run])),
        gate_link: sandbox.gate.map(|gate| path(&["gates", &gate])),
        mark: mark(None, &sandbox.state),
        created: Moment::new(app, sandbox.created),
        id: sandbox.id,
        node: sandbox.node,
    }
}
