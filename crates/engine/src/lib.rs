//! The decisions of Sandgate, without I/O: what `.sandgate.yaml` means, which gates run and in which order, how a run goes
//! on after each event, what test reports say, and which file to propose for a repository that has none.
//!
//! Everything here is a total function of its arguments. Inputs may come from hostile authors: sizes and depths are bounded,
//! and bad input is an error that names the place, never a panic.

pub mod admission;
pub mod config;
pub mod init;
pub mod junit;
pub mod name;
pub mod output;
pub mod plan;
pub mod run;

pub use name::GateName;
