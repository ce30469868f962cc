//! The sandboxes that live in this process, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandgate_domain::{SandboxId, StepId};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::error::Error;
use crate::live::Live;

/// A living sandbox that nobody ends while this is kept.
pub type LiveGuard = OwnedRwLockReadGuard<Option<Live>, Live>;

/// The sandboxes of this process.
#[derive(Default)]
pub(crate) struct LiveSandboxes {
    slots: Mutex<HashMap<SandboxId, Slot>>,
}

#[derive(Clone)]
struct Slot {
    /// Whose it is; none: of whoever is in this process.
    step: Option<StepId>,
    live: Arc<RwLock<Option<Live>>>,
}

impl LiveSandboxes {
    pub fn insert(&self, id: SandboxId, step: Option<StepId>, live: Live) {
        let slot = Slot { step, live: Arc::new(RwLock::new(Some(live))) };
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(id, slot);
    }

    fn slot(&self, id: SandboxId, step: Option<StepId>) -> Result<Slot, Error> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&id).ok_or(Error::SandboxGone(id))?;
        if slot.step == step { Ok(slot.clone()) } else { Err(Error::NotYours(id)) }
    }

    /// A sandbox that lives.
    pub async fn get(&self, id: SandboxId, step: Option<StepId>) -> Result<LiveGuard, Error> {
        let guard = self.slot(id, step)?.live.read_owned().await;
        OwnedRwLockReadGuard::try_map(guard, Option::as_ref).map_err(|_| Error::SandboxGone(id))
    }

    /// Takes a sandbox out, once nobody uses it any more, so that it can be ended.
    pub async fn take(&self, id: SandboxId, step: Option<StepId>) -> Result<Live, Error> {
        let slot = self.slot(id, step)?;
        let live = slot.live.write_owned().await.take();
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        live.ok_or(Error::SandboxGone(id))
    }
}
