//! The nouns of Sandgate: ids, runs, steps, snapshots, results, time, resources and error codes.
//!
//! Pure values without I/O; every other crate may depend on this one, and it depends on none of them.

pub mod error;
pub mod event;
pub mod fail_point;
pub mod id;
pub mod isolation;
pub mod layer;
pub mod live_sandbox;
pub mod name;
pub mod pull_request;
pub mod resources;
pub mod result;
pub mod run;
pub mod snapshot;
pub mod step;
pub mod tenant;
pub mod time;

pub use error::ErrorCode;
pub use event::{Event, EventType, ParseEventTypeError};
pub use id::{EventId, Ids, LayerId, PullRequestId, RunId, SandboxId, SnapshotId, StepId};
pub use isolation::{IsolationLevel, IsolationSummary};
pub use layer::{Layer, LayerContent, LayerKind, LayerState};
pub use live_sandbox::{Holder, LiveSandbox};
pub use name::ParseNameError;
pub use pull_request::{BranchPushed, PullRequestChanged, RunChanged, RunsSuperseded};
pub use resources::{Resources, Share};
pub use result::GateResult;
pub use run::{Run, RunState, UnsupportedKey};
pub use snapshot::{Entry, NetworkAccess, Snapshot, SnapshotKind, SnapshotState};
pub use step::{Completion, Step, StepKind, StepState};
pub use tenant::{TenantId, TrustTier};
pub use time::{Clock, Timestamp};
