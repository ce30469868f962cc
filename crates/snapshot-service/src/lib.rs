//! Owns snapshots, the environment cache and what may be removed.
//!
//! Layers are built once for each key: who asks first builds, the others wait for the result. A snapshot is a row that holds
//! its layers in place; when the row goes, layers that nothing stands on any more may go, too.

mod error;
mod grpc;
mod layers;
mod snapshots;

use std::sync::Arc;

use sandgate_domain::{Clock, Ids, TenantId};
use sandgate_store::Store;

pub use error::Error;
pub use layers::{LayerTurn, LayerWanted};
pub use snapshots::{KEEP_APPROVED, SnapshotDraft};

/// Snapshots, layers and their cache for one tenant. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotService {
    store: Store,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    owner: String,
    /// Whether the process of that name is known to have ended.
    is_gone: fn(&str) -> bool,
}

impl SnapshotService {
    /// The service over `store`. `owner` names this process in the leases of builds.
    pub fn new(
        store: Store,
        tenant: TenantId,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        owner: String,
    ) -> Self {
        Self { store, tenant, clock, ids, owner, is_gone: |_| false }
    }
}
