//! The nouns of Sandgate: ids, results, time, resources and error codes.
//!
//! Pure values without I/O; every other crate may depend on this one, and it depends on none of them.

pub mod error;
pub mod id;
pub mod isolation;
pub mod resources;
pub mod result;
pub mod time;

pub use error::ErrorCode;
pub use id::{Ids, LayerId, RunId, SandboxId, SnapshotId, StepId};
pub use isolation::{IsolationLevel, IsolationSummary};
pub use resources::Resources;
pub use result::GateResult;
pub use time::{Clock, Timestamp};
