//! The contract `Agent`, asked as a runner asks it: over a connection in the process, with the database on disk.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod admitting;
mod claiming;
mod closing;
mod completing;
mod fixture;
mod holding;
mod logging;
