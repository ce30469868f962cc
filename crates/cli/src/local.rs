//! The whole system on this machine, over one folder: what `run`, `debug`, `logs` and `snapshot` work with.
//!
//! A run holds the folder together with other runs, and a server holds it alone. `debug`, `logs` and `snapshot` hold nothing:
//! they claim no step, so they work beside a server, too.

use std::path::PathBuf;
use std::sync::Arc;

use sandgate_domain::IsolationLevel;
use sandgate_gate_runner::{Runner, RunnerParts};
use sandgate_integration_agent::{Agent, AgentParts, Logs};
use sandgate_node::{GitProgram, HostEnvironment, Node, NodeConfig};
use sandgate_provider_gateway::Gateway;
use sandgate_snapshot_service::SnapshotService;
use sandgate_store::Store;
use tokio::sync::Notify;

use crate::context::Context;
use crate::failure::Failure;

/// The parts that only read and write the database.
pub struct Records {
    /// The folder.
    pub folder: PathBuf,
    /// The database.
    pub store: Store,
    /// What steps wrote.
    pub logs: Logs,
    /// Snapshots and layers.
    pub snapshots: SnapshotService,
    /// Woken when an event waits to be published.
    pub relay: Arc<Notify>,
}

/// The parts that make sandboxes.
pub struct Machine {
    /// Runs and steps.
    pub agent: Agent,
    /// Sandboxes.
    pub gateway: Gateway,
    /// The name of this process in leases.
    pub owner: String,
}

impl Records {
    /// Opens the folder of this user, or the one of `--data-dir`.
    pub async fn open(context: &Context) -> Result<Self, Failure> {
        let folder = context.data_dir()?;
        let store = Store::open(&folder.join("state.db"), &*context.clock).await?;
        let snapshots = SnapshotService::new(
            store.clone(),
            context.tenant.clone(),
            Arc::clone(&context.clock),
            Arc::clone(&context.ids),
            owner()?,
        );
        let logs = Logs::new(folder.join("logs"));
        Ok(Self { folder, store, logs, snapshots, relay: Arc::default() })
    }
}

impl Machine {
    /// Probes this machine and sweeps what killed processes left. Sandboxes are isolated, or there are none.
    pub async fn open(context: &Context, records: &Records) -> Result<Self, Failure> {
        Self::open_at(context, records, IsolationLevel::Namespaces).await
    }

    /// The same with consent to this level, where no better one can be had.
    pub async fn open_at(
        context: &Context,
        records: &Records,
        least: IsolationLevel,
    ) -> Result<Self, Failure> {
        let node = open_node(context, records.folder.join("node"), least).await?;
        let gateway = Gateway::new(
            records.store.clone(),
            node,
            context.tenant.clone(),
            Arc::clone(&context.clock),
            Arc::clone(&context.ids),
        )?;
        gateway.sweep().await?;
        let agent = Agent::new(AgentParts {
            store: records.store.clone(),
            tenant: context.tenant.clone(),
            logs: records.logs.clone(),
            clock: Arc::clone(&context.clock),
            ids: Arc::clone(&context.ids),
            relay: Arc::clone(&records.relay),
        });
        records.snapshots.release_builds(is_gone).await?;
        agent.recover(&gateway.node().report().summary(), is_gone).await?;
        Ok(Self { agent, gateway, owner: owner()? })
    }

    /// A runner of this process.
    pub fn runner(&self, context: &Context, records: &Records) -> Result<Runner, Failure> {
        Ok(Runner::new(RunnerParts {
            agent: self.agent.clone(),
            gateway: self.gateway.clone(),
            snapshots: records.snapshots.clone(),
            clock: Arc::clone(&context.clock),
            git: GitProgram::find(&context.environment.path())?,
            owner: self.owner.clone(),
        }))
    }
}

/// Probes this machine.
pub async fn open_node(
    context: &Context,
    folder: PathBuf,
    least: IsolationLevel,
) -> Result<Node, Failure> {
    let environment = &context.environment;
    let host = HostEnvironment {
        home: environment.home(),
        path: environment.path(),
        variables: environment
            .texts()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    Ok(Node::open(NodeConfig { folder, host, least }).await?)
}

/// The name of this process in leases: its id, and when it started.
fn owner() -> Result<String, Failure> {
    let this = sandgate_provider_gateway::this_process()?;
    Ok(sandgate_provider_gateway::owner_name(&this))
}

/// Whether a name in a lease is that of a process that has ended. What can't be told counts as alive.
fn is_gone(owner: &str) -> bool {
    match sandgate_provider_gateway::is_owner_gone(owner) {
        Ok(is_gone) => is_gone,
        Err(error) => {
            tracing::warn!(owner, %error, "can't tell whether a process is gone; its lease will");
            false
        }
    }
}
