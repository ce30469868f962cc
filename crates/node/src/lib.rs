//! One machine: layer directories, sources, the host base, and the sandboxes that are put together from them.
//!
//! [`Node`] is asynchronous. The parts below it block (files and child processes); [`blocking`] moves them to a thread.

pub mod base;
mod checkouts;
pub mod error;
mod grpc;
pub mod layers;
mod live;
mod live_sandboxes;
mod node;
mod places;
mod plain;
mod reports;
mod scripts;
pub mod source;

pub use base::{HostBase, HostEnvironment};
pub use checkouts::Checkout;
pub use error::Error;
pub use grpc::NodeService;
pub use layers::{Layer, LayerStore, SealRule};
pub use live::Live;
pub use live_sandboxes::LiveGuard;
pub use node::{Made, Node, NodeConfig, Request, blocking};
pub use reports::{Found, ReadLimits};
pub use scripts::{RunFiles, Shell};
pub use source::{
    BranchName, GitProgram, Inputs, Repository, SetupFacts, Sha, SourceOptions, Tree,
    UnsupportedEntry,
};
