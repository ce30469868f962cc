//! The front doors: REST with OpenAPI, webhooks, and pages. They own nothing, keep no state, and speak to services only
//! through their clients, so that any number of them can serve side by side.
//!
//! [`router`] is all there is; binding, timeouts, header limits and shutdown are the matter of the server that runs it.

mod access;
mod clients;
mod config;
mod dashboard;
mod error;
mod extract;
mod metrics;
mod observe;
mod operations;
mod problem;
mod rest;
mod router;
mod text;
mod webhooks;

pub use access::hosts::AllowedHosts;
pub use access::token::AccessToken;
pub use clients::{Clients, Connections};
pub use config::{Config, WebhookSecret};
pub use error::Error;
pub use router::router;
