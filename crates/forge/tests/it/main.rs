//! Mirrors against real git repositories in temporary folders.
#![expect(clippy::unwrap_used, reason = "helpers of tests lie outside the test functions")]

mod hostile;
mod limits;
mod merges;
mod mirrors;
mod pulls;
mod repository;
