//! A layer: one folder of files in a layer store, shared read-only by all sandboxes and snapshots that are stacked on it.

use serde::{Deserialize, Serialize};

use crate::name::named_enum;
use crate::{LayerId, TenantId, Timestamp, TrustTier};

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its id.
    pub id: LayerId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who may use it: with the tenant, the trust domain.
    pub tier: TrustTier,
    /// What it holds.
    pub kind: LayerKind,
    /// What it was built from, as a digest; unique in its trust domain and kind. None: it is never looked up.
    pub key: Option<String>,
    /// How far it is.
    pub state: LayerState,
    /// The fingerprint of the machine or image that it was made on.
    pub base_fingerprint: String,
    /// When it was asked for first.
    pub created_at: Timestamp,
    /// When a sandbox was last stacked on it.
    pub last_used_at: Timestamp,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// The few folders and files below everything else.
    Skeleton,
    /// What the setup of an environment left.
    Setup,
    /// The tree of one commit.
    Commit,
    /// The tree of a folder that somebody works in.
    WorkingTree,
    /// What a gate left.
    Gate,
}

named_enum!(
    LayerKind, "kind of layer",
    Skeleton => "skeleton",
    Setup => "setup",
    Commit => "commit",
    WorkingTree => "working-tree",
    Gate => "gate",
);

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerState {
    /// Somebody builds it.
    Building {
        /// Who.
        owner: String,
        /// Until when, if not renewed; afterwards another may take over.
        lease_until: Timestamp,
        /// The number of this build; higher with every owner.
        fence: u64,
    },
    /// It is complete and never changes again.
    Ready(LayerContent),
    /// It was removed; the row stays as a record.
    Deleted {
        /// When.
        deleted_at: Timestamp,
    },
}

impl LayerState {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Building { .. } => "building",
            Self::Ready(_) => "ready",
            Self::Deleted { .. } => "deleted",
        }
    }
}

/// What a complete layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerContent {
    /// The digest of its content, such as `blake3:…`.
    pub digest: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}
