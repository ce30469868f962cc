//! What killed processes left behind is removed at the next start, before anything new is made.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use sandgate_bus::EmbeddedBus;
use sandgate_domain::{ErrorCode, LayerId, TenantId};
use sandgate_integration_agent::Saved;
use sandgate_node::Node;

use crate::context::Context;
use crate::failure::Failure;
use crate::local::Records;

/// How many unfinished runs are looked at.
const RUNS: u32 = 10_000;

/// Removes the directories of layers and of writable layers that nobody knows. Does nothing while other processes work on the
/// folder.
pub async fn sweep_layers(records: &Records, node: &Node) -> Result<(), Failure> {
    // Any tenant's view shows the layers of all of them.
    let layers = records.store.layers(&TenantId::default());
    let known = layers.known().await?;
    let live: HashSet<_> =
        records.store.live_sandboxes().list().await?.into_iter().map(|row| row.id).collect();
    let store = Arc::clone(node.layers());
    let swept = sandgate_node::blocking(move || store.sweep(&known, &live)).await?;
    for lost in swept.lost {
        records.snapshots.give_up_layer(lost).await?;
        records.snapshots.forget_layer(lost).await?;
    }
    Ok(())
}

/// What only the one process of a folder may do: nobody else works in it, so what is in nobody's hands now is left over.
pub async fn after_a_kill(
    context: &Context,
    records: &Records,
    node: &Node,
    bus: &EmbeddedBus,
) -> Result<(), Failure> {
    bus.take_back().await?;
    records.snapshots.forget_unreferenced().await?;
    let mut needed: BTreeSet<LayerId> = BTreeSet::new();
    for run in records.store.runs(&context.tenant).unfinished(RUNS).await? {
        let saved: Saved = serde_json::from_str(&run.progress)
            .map_err(|error| Failure::from_error(ErrorCode::Internal, &error))?;
        needed.extend(saved.layers.into_values());
    }
    let left = records.snapshots.forget_left(&needed).await?;
    let store = Arc::clone(node.layers());
    let removing =
        sandgate_node::blocking(move || left.into_iter().try_for_each(|id| store.delete(id)));
    Ok(removing.await?)
}
