//! The binary as its users meet it, and the invariants of the workspace.

mod architecture;
mod crash;
mod hostile;
mod input;
mod limits;
mod running;
mod times;
mod world;
