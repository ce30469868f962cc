//! What the demonstration plays: a sample repository, and the deliveries that a forge would send for it.

pub mod sample;
pub mod webhook;
