//! The service over a real database, the embedded bus and real repositories; only the service of runs is in memory.

mod deliveries;
mod local;
mod runs;
mod service;
mod shown;
mod source;
mod sweeps;
