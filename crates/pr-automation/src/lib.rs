//! From a forge's webhook to the pull request's state, and from a verdict back to comment and checks.
//!
//! Pure decisions: nothing here reads a clock, a network or a disk. A delivery goes through [`payload::receive`]
//! (size, signature, form, fields) and becomes an [`Event`]; [`decide::fold`] turns it and the known state of its pull
//! request into the next state and its effects; [`comment`] and [`checks`] say what the forge is to show.

pub mod answer;
pub mod checks;
pub mod comment;
pub mod decide;
pub mod event;
mod markdown;
pub mod payload;
pub mod report;
pub mod signature;
pub mod trust;

pub use answer::Answer;
pub use event::{Event, EventKind, PullRequestEvent, PushEvent};
pub use trust::{TrustLists, TrustTier};
