//! Owns sandboxes: writes each down before it is made, strikes it out when it is gone, and sweeps what killed processes left.
//!
//! While a sandbox is written down, the layers that it stands on stay.

mod error;
mod grpc;
mod holder;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;

use sandgate_domain::{
    Clock, Holder, Ids, LayerId, LiveSandbox, RunId, SandboxId, StepId, TenantId, TrustTier,
};
use sandgate_store::Store;
use sandgate_wire::Connection;
use sandgate_wire::node::v1::node_client::NodeClient;
use sandgate_wire::node::v1::{
    CreateSandboxReply, CreateSandboxRequest, DestroySandboxRequest, LayerContent, SandboxSpec,
    SealRule, SealSandboxRequest,
};
use tonic::Status;

pub use error::Error;
pub use grpc::SandboxesService;
pub use holder::{is_alive, is_owner_gone, owner_name, this_process};
pub use sweep::Swept;

/// The sandboxes of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    store: Store,
    node: NodeClient<Connection>,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    holder: Holder,
}

/// Whom a sandbox works for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purpose {
    /// The run, if any.
    pub run: Option<RunId>,
    /// The step, if any.
    pub step: Option<StepId>,
}

/// A sandbox that lives and is written down.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: SandboxId,
    /// The variables that each of its commands gets.
    pub environment: HashMap<String, String>,
    /// Where its folders really are, by what sandboxes call them; empty if they are there.
    pub places: HashMap<String, String>,
}

impl Gateway {
    /// The gateway to the node at the end of `node`.
    ///
    /// # Errors
    /// If this process can't be told apart from others.
    pub fn new(
        store: Store,
        node: Connection,
        tenant: TenantId,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, Error> {
        let node = NodeClient::new(node);
        Ok(Self { store, node, tenant, clock, ids, holder: this_process()? })
    }

    /// Makes a sandbox.
    ///
    /// # Errors
    /// If a layer is not complete, or the machine refuses; nothing is left behind then.
    pub async fn create(&self, purpose: Purpose, spec: SandboxSpec) -> Result<Created, Error> {
        let id = SandboxId::new(&*self.ids);
        let row = LiveSandbox {
            id,
            tenant: self.tenant.clone(),
            run: purpose.run,
            step: purpose.step,
            holder: self.holder.clone(),
            scratch: id.to_string(),
            layers: layers(&spec)?,
            created_at: self.clock.now(),
        };
        self.store.live_sandboxes().insert(&row).await?;
        sandgate_domain::fail_point::reached("sandbox.recorded");
        let step = purpose.step;
        let unfinished = Unfinished { gateway: Some(self.clone()), id, step };
        let step = step.map(|step| step.to_string());
        let tier = self.tier(&row.layers).await?.to_string();
        let request = CreateSandboxRequest { id: id.to_string(), spec: Some(spec), step, tier };
        match self.node.clone().create_sandbox(request).await {
            Ok(reply) => {
                sandgate_domain::fail_point::reached("sandbox.made");
                unfinished.done();
                let CreateSandboxReply { environment, places } = reply.into_inner();
                Ok(Created { id, environment, places })
            }
            Err(refusal) => {
                unfinished.done();
                self.store.live_sandboxes().remove(&self.tenant, id).await?;
                Err(Error::Node(refusal))
            }
        }
    }

    /// How far the author of what stands on these layers is trusted: as far as the least trusted one of them, as the records
    /// say. Without a layer nobody is.
    async fn tier(&self, layers: &[LayerId]) -> Result<TrustTier, Error> {
        let records = self.store.layers(&self.tenant);
        let mut least = None;
        for layer in layers {
            let tier = records.get(*layer).await?.map_or(TrustTier::Fork, |layer| layer.tier);
            least = least.max(Some(tier));
        }
        Ok(least.unwrap_or(TrustTier::Fork))
    }

    /// Ends a sandbox that was made for `step` and removes what it wrote. A sandbox that has ended is no error.
    ///
    /// # Errors
    /// If something can't be removed; a later sweep tries again.
    pub async fn destroy(&self, id: SandboxId, step: Option<StepId>) -> Result<(), Error> {
        let step = step.map(|step| step.to_string());
        let request = DestroySandboxRequest { sandbox: id.to_string(), step };
        self.node.clone().destroy_sandbox(request).await?;
        sandgate_domain::fail_point::reached("sandbox.destroyed");
        self.store.live_sandboxes().remove(&self.tenant, id).await?;
        Ok(())
    }

    /// Ends a sandbox that was made for `step` and turns what it wrote into the files of a layer. The row of the layer is the caller's to finish.
    ///
    /// # Errors
    /// If the files can't be moved.
    pub async fn seal(
        &self,
        id: SandboxId,
        step: Option<StepId>,
        layer: LayerId,
        rule: SealRule,
    ) -> Result<LayerContent, Error> {
        let (sandbox, layer) = (id.to_string(), layer.to_string());
        let step = step.map(|step| step.to_string());
        let request = SealSandboxRequest { sandbox, layer, rule: rule.into(), step };
        let sealed = self.node.clone().seal_sandbox(request).await?.into_inner();
        sandgate_domain::fail_point::reached("sandbox.sealed");
        self.store.live_sandboxes().remove(&self.tenant, id).await?;
        Ok(sealed)
    }
}

fn layers(spec: &SandboxSpec) -> Result<Vec<LayerId>, Error> {
    let parse = |text: &String| {
        let parsed = sandgate_wire::required_field("spec.layers", text);
        parsed.map_err(|error| Error::Node(Status::from(error)))
    };
    spec.layers.iter().map(parse).collect()
}

/// A sandbox that is being made. If nobody waits for it any more, it is removed.
struct Unfinished {
    gateway: Option<Gateway>,
    id: SandboxId,
    step: Option<StepId>,
}

impl Unfinished {
    fn done(mut self) {
        self.gateway = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(gateway), id, step) = (self.gateway.take(), self.id, self.step) else { return };
        tokio::spawn(async move {
            if let Err(error) = gateway.destroy(id, step).await {
                tracing::warn!(sandbox.id = %id, %error, "a sandbox that nobody waited for is left to the sweep");
            }
        });
    }
}
