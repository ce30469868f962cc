//! Claims steps, drives sandboxes, and brings results back. Owns nothing durable: what it knows, another runner can find out.

mod assignment;
mod error;
mod execute;
mod findings;
mod lease;
mod log;
mod prepare;
mod prepared;
mod runner;
mod scripts;

pub use error::Error;
pub use prepare::{Checkout, Prepared};
pub use runner::{Runner, RunnerParts};
