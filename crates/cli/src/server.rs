//! All services in one process over one folder: what `dev` serves, and `demo` plays with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandgate_api::{AccessToken, AllowedHosts, Clients, Connections, WebhookSecret};
use sandgate_bus::{Bus, EmbeddedBus, Relay};
use sandgate_chassis::{
    Config, Hold, Listener, RunningServer, Secret, ServerLimits, ServerRecord, Shutdown, Stage,
    TOKEN_FILE, Tasks, load_or_create_token, process_registry, serve_grpc, serve_http,
};
use sandgate_domain::{Clock, ErrorCode, Timestamp};
use sandgate_forge::local::{Git, Mirrors};
use sandgate_gate_runner::Limits;
use sandgate_integration_agent::{Consumer, OUTBOX, Planner, RunsService};
use sandgate_pr_automation::{Dependencies, PrService, Settings, TrustLists};
use sandgate_wire::InProcess;
use sandgate_wire::runs::v1::runs_server::RunsServer;
use sandgate_wire::sandboxes::v1::sandboxes_server::SandboxesServer;
use sandgate_wire::snapshots::v1::snapshots_server::SnapshotsServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::commands::run::require_isolation;
use crate::commands::snapshot::collect;
use crate::context::Context;
use crate::failure::Failure;
use crate::local::{Machine, Records};
use crate::tidy;

/// How often what nobody needs any more is removed.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// How long events are kept.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How long events that were given up are kept.
const DEAD_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many events leave the outbox in one transaction.
const PRUNED_AT_ONCE: u32 = 1000;

/// A server that is bound and wired, and whose tasks run as soon as they are waited for.
pub struct Server {
    /// Where it answers.
    pub record: ServerRecord,
    /// What opens it.
    pub token: Secret,
    tasks: Tasks,
    _services: [InProcess; 2],
    _announced: RunningServer,
    _hold: Hold,
}

impl Server {
    /// Binds the addresses, opens the folder, and wires the services together.
    ///
    /// # Errors
    /// If an address or the folder is taken, or this machine can't hold an isolated sandbox.
    pub async fn start(
        context: &Context,
        config: &Config,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let folder = context.data_dir()?.canonicalize()?;
        let hold =
            Hold::exclusive(&folder, &format!("sandgate dev (process {})", std::process::id()))?;
        let http = Listener::bind(config.listen, "--listen")?;
        let grpc = Listener::bind(config.grpc_listen, "--grpc-listen")?;
        let token = load_or_create_token(&folder)?;
        let record = ServerRecord {
            address: http.address(),
            grpc_address: grpc.address(),
            token_path: folder.join(TOKEN_FILE),
            data_dir: folder.clone(),
            pid: std::process::id(),
            started: context.clock.now(),
        };
        let services = InProcess::new();
        let mut wiring = Wiring::open(context, &folder, &record).await?;
        let routes = wiring.routes();
        wiring.connect(context, config, &services, &record, routes).await?;
        let router = wiring.router(context, config, &services, &token, http.address())?;
        let mut tasks = Tasks::new(shutdown);
        wiring.spawn(&mut tasks, config);
        let limits = ServerLimits::default();
        let stop = tasks.shutdown(Stage::Inbound);
        tasks.spawn(Stage::Inbound, "http", serve_http(http, router, limits, stop));
        let stop = tasks.shutdown(Stage::Inbound);
        let routes = wiring.served.clone();
        let grpc = serve_grpc(grpc, routes, token.clone(), limits, stop);
        tasks.spawn(Stage::Inbound, "grpc", grpc);
        let announced = RunningServer::announce(&state_folder(context, &folder), &record)?;
        let services = [services, wiring.machine.services];
        Ok(Self { record, token, tasks, _services: services, _announced: announced, _hold: hold })
    }

    /// The link that opens the pages in a browser.
    pub fn login_link(&self) -> String {
        format!("http://{}/login?token={}", self.record.address, self.token.reveal())
    }

    /// Serves until the shutdown that it was started with.
    ///
    /// # Errors
    /// If a task ends early.
    pub async fn run(self) -> Result<(), Failure> {
        Ok(self.tasks.run().await?)
    }
}

/// Where commands of this user look for servers; a user without a home has them in the folder of the server itself.
fn state_folder(context: &Context, folder: &Path) -> PathBuf {
    context.environment.state_folder().unwrap_or_else(|_| folder.to_path_buf())
}

/// The services, before they run.
struct Wiring {
    records: Records,
    machine: Machine,
    bus: Arc<EmbeddedBus>,
    relay: Option<Relay>,
    pulls: Option<PrService>,
    consumer: Option<Consumer>,
    runner: sandgate_gate_runner::Runner,
    served: Routes,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Wiring {
    async fn open(
        context: &Context,
        folder: &Path,
        record: &ServerRecord,
    ) -> Result<Self, Failure> {
        tracing::info!(
            data.folder = %folder.display(),
            http.address = %record.address,
            "starting"
        );
        let mut records = Records::open(context).await?;
        let clock = Arc::clone(&context.clock);
        let bus = Arc::new(EmbeddedBus::start(&records.store, Arc::clone(&clock)));
        let outbox = records.store.outbox(OUTBOX);
        let relay = Relay::new(outbox, Arc::clone(&bus) as Arc<dyn Bus>, clock);
        records.relay = relay.wake();
        let machine = Machine::open(context, &records).await?;
        tidy::after_a_kill(context, &records, &machine.node, &bus).await?;
        require_isolation(&machine)?;
        let runner = machine.runner(context);
        Ok(Self {
            records,
            machine,
            bus,
            relay: Some(relay),
            pulls: None,
            consumer: None,
            runner,
            served: Routes::default(),
            folder: folder.to_path_buf(),
            clock: Arc::clone(&context.clock),
        })
    }

    /// The services that need no other one.
    fn routes(&self) -> Routes {
        Routes::default()
            .add_service(SnapshotsServer::new(self.records.snapshots.clone()))
            .add_service(SandboxesServer::new(self.machine.sandboxes.clone()))
    }

    /// Makes the services that need each other, and binds all of them.
    async fn connect(
        &mut self,
        context: &Context,
        config: &Config,
        services: &InProcess,
        record: &ServerRecord,
        routes: Routes,
    ) -> Result<(), Failure> {
        let search_path = context.environment.get("PATH").unwrap_or_default();
        let git = Git::find(search_path).await?;
        let mirrors = Mirrors::open(&self.folder.join("mirrors"), git)?;
        let names = |list: &[String]| list.to_vec();
        let (members, agents) = (names(&config.members), names(&config.agents));
        let lists =
            TrustLists::new(members.iter().map(String::as_str), agents.iter().map(String::as_str));
        let bus = Arc::clone(&self.bus) as Arc<dyn Bus>;
        let pulls = PrService::new(
            Dependencies {
                store: self.records.store.clone(),
                bus: Arc::clone(&bus),
                clock: Arc::clone(&context.clock),
                ids: Arc::clone(&context.ids),
                mirrors,
                runs: services.connection(),
            },
            Settings {
                tenant: context.tenant.clone(),
                lists,
                dashboard: Some(format!("http://{}", record.address)),
                data_dir: Some(self.folder.display().to_string()),
            },
        );
        let isolation = self.machine.node.report().summary();
        let agent = self.machine.agent.clone();
        let planner = Planner::new(agent.clone(), services.connection(), isolation);
        let runs = RunsService::new(agent.clone(), planner.clone());
        let routes = pulls.serve(routes.add_service(RunsServer::new(runs)));
        self.served = routes.clone();
        services.bind(routes).map_err(|error| Failure::from_error(ErrorCode::Internal, &error))?;
        let consumer = Consumer::new(agent, planner, services.connection(), bus);
        consumer.subscribe().await?;
        self.pulls = Some(pulls);
        self.consumer = Some(consumer);
        Ok(())
    }

    fn router(
        &self,
        context: &Context,
        config: &Config,
        services: &InProcess,
        token: &Secret,
        address: std::net::SocketAddr,
    ) -> Result<axum::Router, Failure> {
        let secrets = config.webhook_secrets.iter().map(|secret| secret.reveal().as_bytes());
        let webhook_secret = match config.webhook_secrets[..] {
            [] => None,
            _ => Some(WebhookSecret::any_of(secrets)?),
        };
        let connection = || services.connection();
        let clients = Clients::new(Connections {
            runs: connection(),
            pulls: connection(),
            snapshots: connection(),
            sandboxes: connection(),
        });
        let mut metrics = process_registry(context.clock.now());
        self.runner.register(&mut metrics);
        let config = sandgate_api::Config {
            token: AccessToken::parse(token.reveal())?,
            hosts: AllowedHosts::new(address, &config.allowed_hosts)?,
            webhook_secret,
            data_dir: Some(self.folder.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Arc::clone(&context.clock),
            metrics,
        };
        Ok(sandgate_api::router(config, clients))
    }

    fn spawn(&mut self, tasks: &mut Tasks, config: &Config) {
        let limits = Limits {
            slots: config.slots.map(u32::from),
            cpu_overcommit_percent: config.cpu_overcommit_percent,
            memory_bytes: config.memory_bytes,
        };
        let stop = tasks.shutdown(Stage::Workers).soft;
        let (node, stop_node) = (self.machine.node.clone(), stop.clone());
        tasks.spawn(Stage::Workers, "node", async move {
            // Nothing else of a start takes as long, and only sandboxes wait for it.
            node.base().await?;
            stop_node.cancelled().await;
            Ok::<(), sandgate_node::Error>(())
        });
        let (runner, stop_runner) = (self.runner.clone(), stop.clone());
        tasks.spawn(Stage::Workers, "gate-runner", async move {
            runner.serve(limits, None, stop_runner).await
        });
        if let Some(consumer) = self.consumer.take() {
            let stop = stop.clone();
            tasks.spawn(Stage::Workers, "integration-agent", async move {
                consumer.run(stop).await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
        if let Some(pulls) = self.pulls.take() {
            tasks.spawn(Stage::Workers, "pr-automation", pulls.run(stop));
        }
        if let Some(relay) = self.relay.take() {
            let stop = tasks.shutdown(Stage::Relay).soft;
            tasks.spawn(Stage::Relay, "relay", async move {
                relay.run(stop).await;
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let stop = tasks.shutdown(Stage::Store).soft;
        let housekeeping = Housekeeping {
            snapshots: self.records.snapshots.clone(),
            node: self.machine.node.clone(),
            store: self.records.store.clone(),
            bus: Arc::clone(&self.bus),
            clock: Arc::clone(&self.clock),
            keep_approved: config.keep_approved,
        };
        tasks.spawn(Stage::Store, "housekeeping", async move {
            housekeeping.run(stop).await;
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

/// Removes what nobody needs any more, from time to time.
struct Housekeeping {
    snapshots: sandgate_snapshot_service::SnapshotService,
    node: sandgate_node::Node,
    store: sandgate_store::Store,
    bus: Arc<EmbeddedBus>,
    clock: Arc<dyn Clock>,
    keep_approved: Duration,
}

impl Housekeeping {
    async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(HOUSEKEEPING) => {}
            }
            if let Err(failure) = collect(&self.snapshots, &self.node, self.keep_approved).await {
                tracing::warn!(error = failure.message, "old snapshots could not be removed");
            }
            if let Err(failure) = prune_events(&self).await {
                tracing::warn!(error = failure.message, "old events could not be removed");
            }
        }
    }
}

/// Removes events that are older than the retention.
async fn prune_events(parts: &Housekeeping) -> Result<(), Failure> {
    parts.bus.prune(RETENTION, DEAD_RETENTION).await?;
    let now = parts.clock.now().as_micros();
    let retention = i64::try_from(RETENTION.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::from_micros(now.saturating_sub(retention));
    let outbox = parts.store.outbox(OUTBOX);
    while outbox.prune(before, PRUNED_AT_ONCE).await? == u64::from(PRUNED_AT_ONCE) {}
    Ok(())
}
