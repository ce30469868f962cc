//! The service over a real database, the embedded bus and real repositories; only the service of runs is in memory.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails ends the test")]

mod crashes;
mod deliveries;
mod local;
mod runs;
mod service;
mod shown;
mod source;
mod sweeps;
mod upkeep;
