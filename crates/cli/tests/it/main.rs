//! The binary as its users meet it, and the invariants of the workspace.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod architecture;
mod crash;
mod hostile;
mod input;
mod limits;
mod running;
mod times;
mod world;
