//! A snapshot: an ordered list of layers and all that is needed to enter it again, offline.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::named_enum;
use crate::{IsolationLevel, LayerId, Resources, RunId, SnapshotId, TenantId, Timestamp};

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The repository it was made of, as in its run.
    pub repository_key: String,
    /// The run it was made by.
    pub run: RunId,
    /// The gate it was made of; none if it is of the run.
    pub gate: Option<String>,
    /// What it is for.
    pub kind: SnapshotKind,
    /// How far it is.
    pub state: SnapshotState,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerId>,
    /// The fingerprint of the machine or image below its layers.
    pub base_fingerprint: String,
    /// How to enter it.
    pub entry: Entry,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it may be removed; none means never by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether somebody keeps it, whatever `expires_at` says.
    pub pinned: bool,
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// The files of a gate that did not pass.
    Debug,
    /// The files that passed.
    Approved,
    /// An environment after its setup.
    Setup,
}

named_enum!(SnapshotKind, "kind of snapshot", Debug => "debug", Approved => "approved", Setup => "setup");

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotState {
    /// Its files are still being moved into the layer store.
    Sealing,
    /// Its layers are complete on this machine.
    Local {
        /// What its layers hold, in bytes.
        bytes: u64,
    },
    /// It was removed; the row stays as a record.
    Deleted {
        /// When.
        deleted_at: Timestamp,
    },
}

impl SnapshotState {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealing => "sealing",
            Self::Local { .. } => "local",
            Self::Deleted { .. } => "deleted",
        }
    }
}

/// What a shell in a snapshot needs to stand exactly where the gate stood. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The environment variables, secrets left out.
    pub environment: BTreeMap<String, String>,
    /// The working folder inside the sandbox.
    pub directory: String,
    /// The commands of the gate, one shell script each, for `rerun`.
    pub commands: Vec<String>,
    /// The limits.
    pub resources: Resources,
    /// Which network it sees.
    pub network: NetworkAccess,
    /// The level at which it was made, and at which alone its files are where they say. Entries from before there was a
    /// choice have namespaces.
    #[serde(default)]
    pub isolation: IsolationLevel,
}

/// Which network a sandbox sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkAccess {
    /// Only its own loopback.
    None,
    /// Public addresses, through the proxy.
    Full,
    /// Only these hosts, through the proxy.
    Hosts(Vec<String>),
}
