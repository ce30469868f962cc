//! Attacks from inside. Each has a positive control: the same on the host, or something near it inside, does work.

#[expect(unsafe_code, reason = "attacks are system calls")]
pub mod calls;
mod files;
mod kernel;
mod neighbours;
