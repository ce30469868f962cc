//! `/api/v1`: JSON in camelCase, problems for errors, pages with a cursor.

pub mod deliveries;
pub mod events;
pub mod gate_item;
pub mod gates;
#[expect(unused_qualifications, reason = "in what `utoipa::path` makes of its parameters")]
pub mod log;
pub mod page;
#[expect(unused_qualifications, reason = "in what `utoipa::path` makes of its parameters")]
pub mod pull_requests;
pub mod repositories;
pub mod run_item;
#[expect(unused_qualifications, reason = "in what `utoipa::path` makes of its parameters")]
pub mod runs;
pub mod sandboxes;
#[expect(unused_qualifications, reason = "in what `utoipa::path` makes of its parameters")]
pub mod snapshots;
pub mod stream;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::router::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sandgate",
        description = "Pull requests from opened to proven. Errors are RFC 9457 problems with a stable `code`; lists are \
                       pages: pass `nextPageToken` as `pageToken` to get the next one.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("token" = [])),
    modifiers(&Token)
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", scheme);
    }
}

/// The routes, and their description.
pub fn routes() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(repositories::list, repositories::add))
        .routes(routes!(repositories::remove))
        .routes(routes!(pull_requests::list, pull_requests::open))
        .routes(routes!(pull_requests::push))
        .routes(routes!(pull_requests::close))
        .routes(routes!(pull_requests::get))
        .routes(routes!(pull_requests::approve))
        .routes(routes!(runs::list, runs::create))
        .routes(routes!(runs::get))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::rerun))
        .routes(routes!(events::events))
        .routes(routes!(gates::get))
        .routes(routes!(log::log))
        .routes(routes!(sandboxes::list))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::get, snapshots::delete))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::redeliver))
        .split_for_parts()
}
