//! Repositories made by git itself, read and written without it.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod loose;
mod reading;
mod support;
mod trouble;
