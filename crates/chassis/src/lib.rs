//! What every process needs and only this crate may touch: the wall clock, randomness, the environment, log output and signals.

mod clock;
mod environment;
mod shutdown;
mod telemetry;

pub use clock::{SystemClock, SystemIds};
pub use environment::{Environment, MissingHome};
pub use shutdown::Shutdown;
pub use telemetry::{LogLevel, start_logging};
