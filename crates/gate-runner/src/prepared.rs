//! What was prepared of runs, for as long as it is of use. Not every end of a run is told to every runner, so what can be
//! found out again is kept for a while only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandgate_domain::RunId;
use tokio::time::Instant;

use crate::prepare::Prepared;

/// How long something stays that nobody uses.
const KEPT: Duration = Duration::from_secs(600);
/// How many stay that nobody uses.
const MOST: usize = 32;

/// What was prepared.
#[derive(Debug, Default)]
pub(crate) struct PreparedRuns {
    runs: Mutex<HashMap<RunId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    prepared: Arc<Prepared>,
    /// It can't be found out again.
    is_pinned: bool,
    used_at: Instant,
}

impl PreparedRuns {
    /// Keeps what only this process knows, until the run has ended.
    pub(crate) fn pin(&self, run: RunId, prepared: &Arc<Prepared>) {
        self.insert(run, prepared, true);
    }

    /// Keeps what can be found out again, for a while.
    pub(crate) fn keep(&self, run: RunId, prepared: &Arc<Prepared>) {
        self.insert(run, prepared, false);
    }

    /// What is known of a run.
    pub(crate) fn get(&self, run: RunId) -> Option<Arc<Prepared>> {
        let mut runs = self.lock();
        let entry = runs.get_mut(&run)?;
        entry.used_at = Instant::now();
        Some(Arc::clone(&entry.prepared))
    }

    /// The run has ended.
    pub(crate) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn insert(&self, run: RunId, prepared: &Arc<Prepared>, is_pinned: bool) {
        let mut runs = self.lock();
        let entry = Entry { prepared: Arc::clone(prepared), is_pinned, used_at: Instant::now() };
        runs.insert(run, entry);
        runs.retain(|_, entry| entry.is_pinned || entry.used_at.elapsed() < KEPT);
        while runs.values().filter(|entry| !entry.is_pinned).count() > MOST {
            let unpinned = runs.iter().filter(|(_, entry)| !entry.is_pinned);
            let Some(oldest) = unpinned.min_by_key(|(_, entry)| entry.used_at) else { return };
            let oldest = *oldest.0;
            runs.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Entry>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
