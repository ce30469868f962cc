//! The Linux isolation engine: runs commands in seven namespaces over a root made of layers, under limits.
//! Where a machine has no namespaces, and only with consent, as plain processes ([`PlainFolder`]).
//!
//! Two halves. The *host half* ([`Engine`], [`Sandbox`], [`Process`]) is asynchronous and lives in the calling
//! process. The *inner half* is the calling program executed again as `sandgate-init`: a fresh single-threaded
//! process that builds the namespaces, becomes pid 1 inside them, gives up every privilege and starts commands
//! on request. The two talk over one socket; when that closes, everything inside dies.
//!
//! Every program that uses the engine calls [`enter_if_init`] in the first line of its `main`.
//!
//! Left out on purpose: what the layers contain, the network proxy itself, deadlines and logs. They belong to callers.

mod cgroup;
mod ends;
mod engine;
mod error;
mod init;
mod memory;
mod plain;
mod process;
#[expect(unsafe_code, reason = "system calls that no safe wrapper offers")]
mod raw;
mod report;
mod sandbox;
mod socket;
mod spec;
mod tree;
mod watch;
mod wire;

pub use engine::{Engine, LAYER_OWNER};
pub use error::Error;
pub use init::enter_if_init;
pub use memory::Memory;
pub use plain::strays::end_strays;
pub use plain::{PlainFolder, PlainHold, copy_layers};
pub use process::{ExitStatus, Process, Terminal};
pub use report::{CgroupFlavour, Finding, Mode, Report};
pub use sandbox::Sandbox;
pub use spec::{Bind, Command, EngineConfig, Limit, Network, Output, Spec, Stdin, Usage};
pub use spec::{GATE_ID, PROXY_PORT};
