//! The repositories on real database files in temporary folders.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod effects;
mod fixture;
mod inbox;
mod kill;
mod layers;
mod live_sandboxes;
mod open;
mod protocol;
mod pulls;
mod runs;
mod snapshots;
mod steps;
mod transactions;
