//! Writing snapshots down, finding them, removing them.

use std::time::Duration;

use sandgate_domain::{
    Entry, LayerId, RunId, Snapshot, SnapshotId, SnapshotKind, SnapshotState, Timestamp,
};
use sandgate_store::{Page, PageRequest};

use crate::{Error, SnapshotService};

/// How long approved snapshots are kept where nobody says otherwise.
pub const KEEP_APPROVED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many snapshots are removed in one transaction.
const BATCH: u32 = 200;

/// A snapshot whose layers are complete.
#[derive(Debug, Clone)]
pub struct SnapshotDraft {
    /// The repository it was made of, as in its run.
    pub repository_key: String,
    /// The run it was made by.
    pub run: RunId,
    /// The gate it was made of; none if it is of the run.
    pub gate: Option<String>,
    /// What it is for.
    pub kind: SnapshotKind,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerId>,
    /// What its layers hold, in bytes.
    pub bytes: u64,
    /// The fingerprint of what is below its layers.
    pub base_fingerprint: String,
    /// How to enter it.
    pub entry: Entry,
    /// How long it is kept; none: until it is removed.
    pub keep: Option<Duration>,
}

impl SnapshotService {
    /// Writes a snapshot down; from then on its layers stay.
    ///
    /// # Errors
    /// If a layer is gone, or the database refuses.
    pub async fn record(&self, draft: SnapshotDraft) -> Result<SnapshotId, Error> {
        let now = self.clock.now();
        let snapshot = Snapshot {
            id: SnapshotId::new(&*self.ids),
            tenant: self.tenant.clone(),
            repository_key: draft.repository_key,
            run: draft.run,
            gate: draft.gate,
            kind: draft.kind,
            state: SnapshotState::Local { bytes: draft.bytes },
            layers: draft.layers,
            base_fingerprint: draft.base_fingerprint,
            entry: draft.entry,
            created_at: now,
            expires_at: draft.keep.map(|keep| now.plus(keep)),
            pinned: false,
        };
        self.store.snapshots(&self.tenant).create(&snapshot).await?;
        Ok(snapshot.id)
    }

    /// One snapshot that still exists.
    ///
    /// # Errors
    /// If there is none, or the database refuses.
    pub async fn get(&self, id: SnapshotId) -> Result<Snapshot, Error> {
        let found = self.store.snapshots(&self.tenant).get(id).await?;
        found
            .filter(|snapshot| !matches!(snapshot.state, SnapshotState::Deleted { .. }))
            .ok_or(Error::NoSnapshot(id))
    }

    /// The snapshots of one repository or of all, the newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn list(
        &self,
        repository_key: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Snapshot>, Error> {
        Ok(self.store.snapshots(&self.tenant).list(repository_key, request).await?)
    }

    /// The snapshots of a run, the oldest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<Snapshot>, Error> {
        Ok(self.store.snapshots(&self.tenant).of_run(run).await?)
    }

    /// Removes a snapshot; its layers go with the next collection, if nothing else stands on them.
    ///
    /// # Errors
    /// If there is none, or the database refuses.
    pub async fn delete(&self, id: SnapshotId) -> Result<(), Error> {
        if self.store.snapshots(&self.tenant).delete(id, self.clock.now()).await? {
            return Ok(());
        }
        Err(Error::NoSnapshot(id))
    }

    /// Removes the snapshots that neither a gate nor a run leads to: whoever made them was killed before it could tell. Only
    /// for a process that has the folder to itself.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn forget_unreferenced(&self) -> Result<usize, Error> {
        let snapshots = self.store.snapshots(&self.tenant);
        let mut removed = 0;
        for id in snapshots.unreferenced().await? {
            removed += usize::from(snapshots.delete(id, self.clock.now()).await?);
        }
        Ok(removed)
    }

    /// Removes the snapshots whose time is over and that nobody pinned; their ids. Approved ones are kept for
    /// `keep_approved`, and for ever the newest of each repository and branch.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn prune(&self, keep_approved: Duration) -> Result<Vec<SnapshotId>, Error> {
        let snapshots = self.store.snapshots(&self.tenant);
        let now = self.clock.now();
        let keep = i64::try_from(keep_approved.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(keep));
        let mut removed = Vec::new();
        loop {
            let expired = snapshots.prune(now, BATCH).await?;
            let approved = snapshots.prune_approved(before, now, BATCH).await?;
            let is_done = expired.len().max(approved.len()) < BATCH as usize;
            removed.extend(expired.into_iter().chain(approved));
            if is_done {
                return Ok(removed);
            }
        }
    }
}
