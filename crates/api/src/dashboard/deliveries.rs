//! What forges delivered, what became of it and why; one that was not acted on can be looked at again.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::view::{Mark, Moment, clean, mark};
use super::{Frame, answer, command, link, path, render};
use crate::extract::{Id, Params};
use crate::problem::Problem;
use crate::rest::deliveries::{DeliveryItem, find, take_again};
use crate::rest::page::PageQuery;
use crate::router::App;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    rows: Vec<Row>,
    query: PageQuery,
    next: Option<String>,
    has_secret: bool,
    add_command: String,
}

struct Row {
    id: String,
    event: String,
    repo: Option<String>,
    mark: &'static Mark,
    reason: String,
    received: Moment,
    /// Where the button that looks at it again posts to; none if it was acted on.
    again: Option<String>,
}

/// `GET /deliveries`.
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
    render(&DeliveriesPage {
        frame: Frame::new(app, "deliveries"),
        rows: page.items.into_iter().map(|delivery| row(app, delivery)).collect(),
        next: page.next_page_token.map(|token| {
            link("/deliveries", &[("pageSize", size.as_deref()), ("pageToken", Some(&token))])
        }),
        query,
        has_secret: app.config.webhook_secret.is_some(),
        add_command: command(app, &["repo", "add", ".", "--name", "owner/repo"]),
    })
}

fn row(app: &App, delivery: DeliveryItem) -> Row {
    let is_open = matches!(delivery.outcome.as_str(), "ignored" | "failed");
    Row {
        again: is_open.then(|| path(&["deliveries", &delivery.id, "redeliver"])),
        mark: mark(None, &delivery.outcome),
        reason: clean(delivery.reason.as_deref().unwrap_or_default()),
        received: Moment::new(app, delivery.received),
        id: delivery.id,
        event: delivery.event,
        repo: delivery.repo,
    }
}

/// `POST /deliveries/{id}/redeliver`.
pub async fn redeliver(State(app): State<Arc<App>>, id: Result<Id<String>, Problem>) -> Response {
    let taken = match id {
        Ok(Id(id)) => take_again(&app, id).await,
        Err(problem) => Err(problem),
    };
    answer(&app, taken.map(|_| Redirect::to("/deliveries").into_response()))
}
