//! The sandboxes that live in this process, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandgate_domain::SandboxId;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::error::Error;
use crate::live::Live;

type Slot = Arc<RwLock<Option<Live>>>;

/// A living sandbox that nobody ends while this is kept.
pub type LiveGuard = OwnedRwLockReadGuard<Option<Live>, Live>;

/// The sandboxes of this process.
#[derive(Default)]
pub(crate) struct LiveSandboxes {
    slots: Mutex<HashMap<SandboxId, Slot>>,
}

impl LiveSandboxes {
    pub fn insert(&self, id: SandboxId, live: Live) {
        let slot = Arc::new(RwLock::new(Some(live)));
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(id, slot);
    }

    /// A sandbox that lives.
    pub async fn get(&self, id: SandboxId) -> Result<LiveGuard, Error> {
        let slot =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone);
        let guard = slot.ok_or(Error::SandboxGone(id))?.read_owned().await;
        OwnedRwLockReadGuard::try_map(guard, Option::as_ref).map_err(|_| Error::SandboxGone(id))
    }

    /// Takes a sandbox out, once nobody uses it any more, so that it can be ended.
    pub async fn take(&self, id: SandboxId) -> Option<Live> {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        slot?.write_owned().await.take()
    }
}
