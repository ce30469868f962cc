//! What the tests of this crate work with: a real store and bus, and the service of pull requests as it looks from here.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandgate_bus::{Bus, EmbeddedBus, Message};
use sandgate_domain::{
    Clock, ErrorCode, Event, EventId, EventType, Ids, IsolationLevel, IsolationSummary,
    PullRequestChanged, PullRequestId, RunsSuperseded, TenantId,
};
use sandgate_store::{Page, PageRequest, RunFilter, Store};
use sandgate_testkit::{CountingIds, MockClock};
use sandgate_wire::pulls::v1::pull_requests_server::{PullRequests, PullRequestsServer};
use sandgate_wire::pulls::v1::source_server::{Source, SourceServer};
use sandgate_wire::pulls::v1::*;
use sandgate_wire::{InProcess, status};
use serde::Serialize;
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::agent::{Agent, AgentParts};
use crate::logs::Logs;
use crate::planning::Planner;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: &[u8] = b"version: 1\ngates:\n  test: { run: echo }\n";

type Answer<T> = Result<Response<T>, Status>;

/// The service of pull requests and sources, as the tests want it to be.
#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The revision at which a pull request is now.
    present: HashMap<String, u32>,
    /// Repositories whose source does not answer until it is told to.
    stuck: HashMap<String, Arc<Notify>>,
    /// Repositories whose source fails, and how.
    failing: HashMap<String, ErrorCode>,
    /// Commits that do not come from the repository itself.
    origins: HashMap<String, TraceReply>,
    reports: Vec<ReportUnplannedRequest>,
    resolved: Vec<ResolveRequest>,
}

impl Outside {
    pub(crate) fn set_present(&self, pull: PullRequestId, revision: u32) {
        self.0.lock().unwrap().present.insert(pull.to_string(), revision);
    }

    pub(crate) fn stick(&self, repository: &str) -> Arc<Notify> {
        let free = Arc::new(Notify::new());
        self.0.lock().unwrap().stuck.insert(repository.to_owned(), Arc::clone(&free));
        free
    }

    pub(crate) fn fail(&self, repository: &str, code: Option<ErrorCode>) {
        let mut state = self.0.lock().unwrap();
        match code {
            Some(code) => state.failing.insert(repository.to_owned(), code),
            None => state.failing.remove(repository),
        };
    }

    pub(crate) fn bring(&self, sha: &str, origin: TraceReply) {
        self.0.lock().unwrap().origins.insert(sha.to_owned(), origin);
    }

    pub(crate) fn reports(&self) -> Vec<ReportUnplannedRequest> {
        self.0.lock().unwrap().reports.clone()
    }

    pub(crate) fn resolved(&self) -> Vec<ResolveRequest> {
        self.0.lock().unwrap().resolved.clone()
    }
}

fn not_here<T>() -> Answer<T> {
    Err(status(ErrorCode::Unsupported, "nothing here asks for it"))
}

#[tonic::async_trait]
impl Source for Outside {
    async fn read_file(&self, _: Request<ReadFileRequest>) -> Answer<ReadFileReply> {
        Ok(Response::new(ReadFileReply { data: CONFIG.into() }))
    }

    async fn changed_paths(&self, _: Request<ChangedPathsRequest>) -> Answer<ChangedPathsReply> {
        not_here()
    }

    async fn resolve(&self, request: Request<ResolveRequest>) -> Answer<ResolveReply> {
        let request = request.into_inner();
        let (stuck, failing) = {
            let mut state = self.0.lock().unwrap();
            state.resolved.push(request.clone());
            let key = &request.repository;
            (state.stuck.get(key).cloned(), state.failing.get(key).copied())
        };
        if let Some(free) = stuck {
            free.notified().await;
        }
        if let Some(code) = failing {
            return Err(status(code, "the source is away"));
        }
        Ok(Response::new(ResolveReply {
            test_sha: request.head_sha.clone(),
            config_sha: request.head_sha,
            base_sha: None,
            conflict: None,
            folder: "/srv/mirror".to_owned(),
        }))
    }

    async fn trace(&self, request: Request<TraceRequest>) -> Answer<TraceReply> {
        let sha = request.into_inner().sha;
        let known = self.0.lock().unwrap().origins.get(&sha).cloned();
        let ours = TraceReply { tier: "member".to_owned(), ..TraceReply::default() };
        Ok(Response::new(known.unwrap_or(ours)))
    }

    async fn locate(&self, _: Request<LocateRequest>) -> Answer<LocateReply> {
        not_here()
    }
}

#[tonic::async_trait]
impl PullRequests for Outside {
    async fn get(&self, request: Request<GetPullRequestRequest>) -> Answer<PullRequest> {
        let id = request.into_inner().id.unwrap();
        let generation = self.0.lock().unwrap().present.get(&id).copied();
        let generation = generation.ok_or_else(|| status(ErrorCode::NotFound, "no such one"))?;
        Ok(Response::new(PullRequest { id, generation, ..PullRequest::default() }))
    }

    async fn report_unplanned(
        &self,
        request: Request<ReportUnplannedRequest>,
    ) -> Answer<ReportUnplannedReply> {
        self.0.lock().unwrap().reports.push(request.into_inner());
        Ok(Response::new(ReportUnplannedReply {}))
    }

    async fn redeliver(&self, _: Request<RedeliverRequest>) -> Answer<AcceptReply> {
        not_here()
    }

    async fn accept(&self, _: Request<AcceptRequest>) -> Answer<AcceptReply> {
        not_here()
    }

    async fn list(&self, _: Request<ListPullRequestsRequest>) -> Answer<ListPullRequestsReply> {
        not_here()
    }

    async fn approve(&self, _: Request<ApproveRequest>) -> Answer<PullRequest> {
        not_here()
    }

    async fn open(&self, _: Request<OpenRequest>) -> Answer<PullRequest> {
        not_here()
    }

    async fn push(&self, _: Request<PushRequest>) -> Answer<PullRequest> {
        not_here()
    }

    async fn close(&self, _: Request<CloseRequest>) -> Answer<PullRequest> {
        not_here()
    }

    async fn list_deliveries(
        &self,
        _: Request<ListDeliveriesRequest>,
    ) -> Answer<ListDeliveriesReply> {
        not_here()
    }
}

/// A process over a folder. Others may follow on the same folder.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) agent: Agent,
    pub(crate) planner: Planner,
    pub(crate) outside: Outside,
    pub(crate) process: InProcess,
    pub(crate) clock: MockClock,
    pub(crate) ids: Arc<CountingIds>,
}

impl World {
    pub(crate) async fn open(
        folder: &Path,
        outside: &Outside,
        clock: &MockClock,
        ids: &Arc<CountingIds>,
    ) -> Self {
        let store = Store::open(&folder.join("state.db"), clock).await.unwrap();
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::start(&store, Arc::new(clock.clone())));
        let process = InProcess::new();
        let routes = Routes::new(PullRequestsServer::new(outside.clone()))
            .add_service(SourceServer::new(outside.clone()));
        process.bind(routes).unwrap();
        let agent = Agent::new(AgentParts {
            store: store.clone(),
            tenant: TenantId::default(),
            logs: Logs::new(folder.join("logs")),
            clock: Arc::new(clock.clone()),
            ids: Arc::clone(ids) as Arc<dyn Ids>,
            relay: Arc::default(),
        });
        let planner = Planner::new(agent.clone(), process.connection(), isolation());
        let (outside, clock, ids) = (outside.clone(), clock.clone(), Arc::clone(ids));
        Self { store, bus, agent, planner, outside, process, clock, ids }
    }

    /// A process on a new folder, which has to be kept.
    pub(crate) async fn new() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let (outside, clock) = (Outside::default(), MockClock::default());
        let world = Self::open(folder.path(), &outside, &clock, &Arc::default()).await;
        (folder, world)
    }

    pub(crate) async fn publish(
        &self,
        entity: &str,
        name: &str,
        subject: &str,
        data: impl Serialize,
    ) {
        let event = Event::new(
            EventId::new(&*self.ids),
            "sandgate/pr-automation",
            EventType::new(entity, name, 1).unwrap(),
            subject.to_owned(),
            self.clock.now(),
            TenantId::default(),
            serde_json::to_value(data).unwrap(),
        );
        let message = Message::outgoing(&event, BTreeMap::new()).unwrap();
        self.bus.publish(&Message::from(message)).await.unwrap();
    }

    /// Says that a run of a revision is wanted.
    pub(crate) async fn want(&self, pull: PullRequestId, repository: &str, revision: u64) {
        let facts = changed(pull, repository, revision);
        self.publish("pr", "synchronize", &pull.to_string(), facts).await;
    }

    /// Says that runs of older revisions are not wanted.
    pub(crate) async fn supersede(&self, pull: PullRequestId, repository: &str, before: u64) {
        let repository = repository.to_owned();
        let facts = RunsSuperseded { repository, pull_request: pull, number: 1, before };
        self.publish("pr", "superseded", &pull.to_string(), facts).await;
    }

    /// Lets time pass, and wakes whoever waits for an event.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.publish("gate", "looked_at", "nothing", serde_json::json!({})).await;
    }

    /// The revisions of a pull request that have a run, the oldest run first, with the run's state.
    pub(crate) async fn runs_of(&self, pull: PullRequestId) -> Vec<(u32, &'static str)> {
        let filter = RunFilter { pull_request: Some(pull.to_string()), ..RunFilter::default() };
        let Page { items, .. } = self.agent.list(&filter, &PageRequest::first(100)).await.unwrap();
        items.iter().rev().map(|run| (run.generation, run.state.name())).collect()
    }
}

pub(crate) fn changed(pull: PullRequestId, repository: &str, revision: u64) -> PullRequestChanged {
    PullRequestChanged {
        repository: repository.to_owned(),
        pull_request: pull,
        number: 1,
        revision,
        head_sha: format!("{revision:040x}"),
        head_branch: "topic".to_owned(),
        base_sha: None,
        base_branch: "main".to_owned(),
        tier: "member".to_owned(),
        trigger: "pull_request.synchronize".to_owned(),
        held: false,
        open: true,
        merged: false,
    }
}

pub(crate) fn pull(number: u128) -> PullRequestId {
    PullRequestId::from_uuid(uuid::Uuid::from_u128(number))
}

fn isolation() -> IsolationSummary {
    let limits = Vec::new();
    IsolationSummary { namespaces: true, limits, network: true, level: IsolationLevel::Namespaces }
}

/// Of a machine that has enough of everything.
pub fn room(slots: u32) -> sandgate_engine::admission::Room {
    let share = sandgate_domain::Share { cpu_millis: 64_000, memory_bytes: 1 << 40 };
    sandgate_engine::admission::Room { slots, share, available_bytes: 1 << 40, reserve_bytes: 0 }
}

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
