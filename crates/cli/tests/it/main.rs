//! The binary as its users meet it, and the invariants of the workspace.

mod architecture;
mod running;
mod world;
