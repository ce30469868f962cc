//! The service: what it needs, what it serves, and its tasks.

use std::sync::Arc;

use sandgate_bus::{Bus, Relay};
use sandgate_domain::{Clock, Ids, TenantId};
use sandgate_forge::local::Mirrors;
use sandgate_store::Store;
use sandgate_wire::pulls::v1::pull_requests_server::PullRequestsServer;
use sandgate_wire::pulls::v1::repositories_server::RepositoriesServer;
use sandgate_wire::pulls::v1::source_server::SourceServer;
use sandgate_wire::runs::v1::runs_client::RunsClient;
use sandgate_wire::{Connection, MAX_ACCEPT_BYTES};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::trust::TrustLists;
use crate::{Error, consumer, posting, sweeper, upkeep};

/// The name of the service's outbox, and of its subscriptions.
pub const NAME: &str = "pr-automation";
const MAX_REPLY_BYTES: usize = 64 << 20;

/// What the service works with.
pub struct Dependencies {
    /// The database.
    pub store: Store,
    /// Where events go and come from.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
    /// The mirrors of the known repositories.
    pub mirrors: Mirrors,
    /// The way to the service of runs.
    pub runs: Connection,
}

/// What differs from one installation to another.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whose repositories these are.
    pub tenant: TenantId,
    /// Logins that administrators named.
    pub lists: TrustLists,
    /// The address of the dashboard, such as `http://127.0.0.1:8080`: comments lead there.
    pub dashboard: Option<String>,
    /// The data folder, where the commands in comments have to name it.
    pub data_dir: Option<String>,
}

/// The service.
pub struct PrService {
    core: Arc<Core>,
    relay: Relay,
}

/// What servers and tasks share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) mirrors: Mirrors,
    pub(crate) runs: RunsClient<Connection>,
    pub(crate) settings: Settings,
    /// Something is in the outbox.
    pub(crate) outgoing: Arc<Notify>,
    /// Some effect is planned.
    pub(crate) planned: Notify,
}

impl PrService {
    /// The service. Nothing happens before it is called or [run](Self::run).
    pub fn new(dependencies: Dependencies, settings: Settings) -> Self {
        let Dependencies { store, bus, clock, ids, mirrors, runs } = dependencies;
        let relay = Relay::new(store.outbox(NAME), Arc::clone(&bus), Arc::clone(&clock));
        let runs = RunsClient::new(runs).max_decoding_message_size(MAX_REPLY_BYTES);
        let (outgoing, planned) = (relay.wake(), Notify::new());
        let core = Core { store, bus, clock, ids, mirrors, runs, settings, outgoing, planned };
        Self { core: Arc::new(core), relay }
    }

    /// Adds the servers of `PullRequests`, `Repositories` and `Source`.
    pub fn serve(&self, routes: Routes) -> Routes {
        let pulls = PullRequestsServer::from_arc(Arc::clone(&self.core))
            .max_decoding_message_size(MAX_ACCEPT_BYTES);
        routes
            .add_service(pulls)
            .add_service(RepositoriesServer::from_arc(Arc::clone(&self.core)))
            .add_service(SourceServer::from_arc(Arc::clone(&self.core)))
    }

    /// Publishes events, consumes those of runs, writes checks and comments, sweeps and tidies up, until told to stop; then
    /// publishes what is left. Bind the servers first: it asks for runs at once.
    ///
    /// # Errors
    /// If the subscription can't be made.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { core, relay } = self;
        consumer::subscribe(&core).await?;
        // The relay goes on until nobody else can put something into the outbox.
        let stop_relay = CancellationToken::new();
        let relaying = relay.run(stop_relay.clone());
        let working = async {
            tokio::join!(
                consumer::run(&core, &stop),
                posting::run(&core, &stop),
                sweeper::run(&core, &stop),
                upkeep::run(&core, &stop),
            );
            stop_relay.cancel();
        };
        tokio::join!(relaying, working);
        Ok(())
    }
}
