//! Claims steps, drives sandboxes, and brings results back. Owns nothing durable: what it knows, another runner can find out.

mod error;
mod execute;
mod findings;
mod prepare;
mod runner;
mod scripts;

pub use error::Error;
pub use prepare::{Checkout, Prepared};
pub use runner::{Runner, RunnerParts};
