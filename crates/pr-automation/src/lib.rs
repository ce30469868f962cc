//! From a forge's webhook to the pull request's state, and from a verdict back to comment and checks.
//!
//! Owns the inbox, known repositories and their mirrors, pull requests, and what is shown under them. Woken by deliveries
//! and `run.*`; emits `pr.*` and `branch.pushed`.
//!
//! Decisions are pure: [`payload`] makes a delivery an [`Event`]; [`decide::fold`] turns it and the known state of its pull
//! request into the next state and its effects; [`comment`] and [`checks`] say what the forge is to show. Around them,
//! [`PrService`] loads, decides and writes in one transaction; what is to be seen outside follows as keyed effects.

mod accept;
pub mod answer;
mod change;
pub mod checks;
pub mod comment;
mod consumer;
mod convert;
pub mod decide;
mod error;
pub mod event;
mod events;
mod grpc;
mod local;
mod markdown;
mod origin;
pub mod payload;
mod posting;
pub mod report;
mod repositories;
mod results;
mod service;
pub mod signature;
mod source;
mod sweeper;
pub mod trust;
mod upkeep;

pub use answer::Answer;
pub use error::Error;
pub use event::{Event, EventKind, PullRequestEvent, PushEvent};
pub use service::{Dependencies, NAME as OUTBOX, PrService, Settings};
pub use trust::{TrustLists, TrustTier};
