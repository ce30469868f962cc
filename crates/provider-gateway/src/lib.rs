//! Owns sandboxes: writes each down before it is made, strikes it out when it is gone, and sweeps what killed processes left.
//!
//! While a sandbox is written down, the layers that it stands on stay.

mod error;
mod grpc;
mod holder;
mod sweep;

use std::sync::Arc;

use sandgate_domain::{
    Clock, Holder, Ids, LayerId, LiveSandbox, Resources, RunId, SandboxId, StepId, TenantId,
};
use sandgate_node::{Layer, Live, Node, Request, RunFiles, SealRule};
use sandgate_store::Store;

pub use error::Error;
pub use holder::{is_alive, is_owner_gone, owner_name, this_process};
pub use sweep::Swept;

/// The sandboxes of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    store: Store,
    node: Node,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    holder: Holder,
}

/// A sandbox to be made.
#[derive(Debug, Clone)]
pub struct SandboxWanted {
    /// The run it works for, if any.
    pub run: Option<RunId>,
    /// The step it works for, if any.
    pub step: Option<StepId>,
    /// The layers above the base, the lowest first.
    pub layers: Vec<LayerId>,
    /// Whether it reaches the outside through the proxy.
    pub network: bool,
    /// Whether the proxy leads to private ranges too.
    pub private_ranges: bool,
    /// What it may use at most.
    pub limits: Resources,
    /// What it finds below `/run/sandgate`.
    pub files: RunFiles,
}

/// A living sandbox that is written down.
pub struct Held {
    /// Its id.
    pub id: SandboxId,
    /// The sandbox.
    pub live: Live,
}

impl Gateway {
    /// The gateway to `node`.
    ///
    /// # Errors
    /// If this process can't be told apart from others.
    pub fn new(
        store: Store,
        node: Node,
        tenant: TenantId,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, Error> {
        Ok(Self { store, node, tenant, clock, ids, holder: this_process()? })
    }

    /// The machine.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Makes a sandbox.
    ///
    /// # Errors
    /// If a layer is not complete, or the machine refuses; nothing is left behind then.
    pub async fn create(&self, wanted: SandboxWanted) -> Result<Held, Error> {
        let id = SandboxId::new(&*self.ids);
        let row = LiveSandbox {
            id,
            tenant: self.tenant.clone(),
            run: wanted.run,
            step: wanted.step,
            holder: self.holder.clone(),
            scratch: id.to_string(),
            layers: wanted.layers.clone(),
            created_at: self.clock.now(),
        };
        self.store.live_sandboxes().insert(&row).await?;
        sandgate_domain::fail_point::reached("sandbox.recorded");
        let request = Request {
            id,
            layers: wanted.layers,
            network: wanted.network,
            private_ranges: wanted.private_ranges,
            limits: wanted.limits,
            files: wanted.files,
        };
        let made = self.node.create(request).await;
        sandgate_domain::fail_point::reached("sandbox.made");
        match made {
            Ok(live) => Ok(Held { id, live }),
            Err(error) => {
                self.store.live_sandboxes().remove(&self.tenant, id).await?;
                Err(error.into())
            }
        }
    }

    /// Ends a sandbox and removes what it wrote.
    ///
    /// # Errors
    /// If something can't be removed; a later sweep tries again.
    pub async fn destroy(&self, held: Held) -> Result<(), Error> {
        held.live.destroy().await?;
        sandgate_domain::fail_point::reached("sandbox.destroyed");
        self.store.live_sandboxes().remove(&self.tenant, held.id).await?;
        Ok(())
    }

    /// Ends a sandbox and turns what it wrote into the files of a layer. The row of the layer is the caller's to finish.
    ///
    /// # Errors
    /// If the files can't be moved.
    pub async fn seal(&self, held: Held, layer: LayerId, rule: SealRule) -> Result<Layer, Error> {
        let sealed = held.live.seal(layer, rule).await?;
        sandgate_domain::fail_point::reached("sandbox.sealed");
        self.store.live_sandboxes().remove(&self.tenant, held.id).await?;
        Ok(sealed)
    }
}
