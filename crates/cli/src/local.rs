//! The whole system on this machine, over one folder: what `run`, `debug`, `logs` and `snapshot` work with.
//!
//! A run holds the folder together with other runs, and a server holds it alone. `debug`, `logs` and `snapshot` hold nothing:
//! they claim no step, so they work beside a server, too.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandgate_chassis::load_or_create_step_key;
use sandgate_domain::{Clock, ErrorCode, IsolationLevel, Timestamp};
use sandgate_gate_runner::{Runner, RunnerParts};
use sandgate_integration_agent::{Agent, AgentParts, AgentService, Logs, OUTBOX};
use sandgate_node::{HostEnvironment, Node, NodeConfig, NodeService};
use sandgate_provider_gateway::{Gateway, SandboxesService};
use sandgate_snapshot_service::SnapshotService;
use sandgate_store::Store;
use sandgate_wire::InProcess;
use sandgate_wire::agent::v1::agent_client::AgentClient;
use sandgate_wire::node::v1::node_server::NodeServer;
use sandgate_wire::sandboxes::v1::sandboxes_server::SandboxesServer;
use sandgate_wire::snapshots::v1::layers_server::LayersServer;
use sandgate_wire::snapshots::v1::snapshots_server::SnapshotsServer;
use sandgate_wire::token::{StepGuard, TokenKey};
use tokio::sync::Notify;
use tonic::service::Routes;

use crate::context::Context;
use crate::failure::Failure;
use crate::tidy;

/// How long events wait for a server that publishes them.
const UNPUBLISHED: Duration = Duration::from_secs(24 * 3600);
/// How many events are dropped in one transaction.
const DROPPED_AT_ONCE: u32 = 1000;

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
    /// Sandboxes, as others call for them.
    pub sandboxes: SandboxesService,
    /// This machine.
    pub node: Node,
    /// The services that gate runners call. They serve as long as this is kept.
    pub services: InProcess,
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
        )
        .asking(is_gone);
        let logs = Logs::new(folder.join("logs"));
        Ok(Self { folder, store, logs, snapshots, relay: Arc::default() })
    }

    /// Removes events that no server published in time: for a process that relays none itself. What is younger goes out when
    /// a server opens the folder.
    pub async fn drop_old_events(&self, clock: &dyn Clock) -> Result<(), Failure> {
        let retention = i64::try_from(UNPUBLISHED.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(clock.now().as_micros().saturating_sub(retention));
        let outbox = self.store.outbox(OUTBOX);
        while outbox.drop_unpublished(before, DROPPED_AT_ONCE).await? == u64::from(DROPPED_AT_ONCE)
        {
        }
        Ok(())
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
        let services = InProcess::new();
        let gateway = Gateway::new(
            records.store.clone(),
            services.connection(),
            context.tenant.clone(),
            Arc::clone(&context.clock),
            Arc::clone(&context.ids),
        )?;
        let agent = Agent::new(AgentParts {
            store: records.store.clone(),
            tenant: context.tenant.clone(),
            logs: records.logs.clone(),
            clock: Arc::clone(&context.clock),
            ids: Arc::clone(&context.ids),
            relay: Arc::clone(&records.relay),
        });
        let step_key = load_or_create_step_key(&records.folder)?;
        let step_key = TokenKey::new(step_key.reveal().as_bytes());
        let guard = StepGuard::new(step_key.clone(), Arc::clone(&context.clock));
        let sandboxes = SandboxesService::new(gateway.clone(), guard.clone());
        let routes = Routes::default()
            .add_service(NodeServer::new(NodeService::new(node.clone(), guard)))
            .add_service(SandboxesServer::new(sandboxes.clone()))
            .add_service(SnapshotsServer::new(records.snapshots.clone()))
            .add_service(LayersServer::new(records.snapshots.clone()))
            .add_service(AgentService::new(agent.clone(), step_key).server());
        services.bind(routes).map_err(|error| Failure::from_error(ErrorCode::Internal, &error))?;
        gateway.sweep().await?;
        records.snapshots.release_builds(is_gone).await?;
        agent.recover(&node.report().summary(), is_gone).await?;
        tidy::sweep_layers(records, &node).await?;
        Ok(Self { agent, gateway, sandboxes, node, services, owner: owner()? })
    }

    /// A runner of this process.
    pub fn runner(&self, context: &Context) -> Runner {
        Runner::new(RunnerParts {
            agent: AgentClient::new(self.services.connection()),
            sandboxes: self.services.connection(),
            node: self.services.connection(),
            snapshots: self.services.connection(),
            clock: Arc::clone(&context.clock),
            owner: self.owner.clone(),
        })
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
