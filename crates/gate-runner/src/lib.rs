//! Claims steps, drives sandboxes, and brings results back. Owns nothing durable: what it knows, another runner can find out.

mod assignment;
mod error;
mod execute;
mod findings;
mod held;
mod lease;
mod log;
mod prepare;
mod prepared;
mod room;
mod runner;
mod scripts;
mod services;

pub use error::Error;
pub use prepare::{Origin, Prepared};
pub use room::Limits;
pub use runner::{Runner, RunnerParts};
