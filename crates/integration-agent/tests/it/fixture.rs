//! An agent over a database on disk, and the calls of a runner.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sandgate_domain::{
    Clock, ErrorCode, Ids, IsolationLevel, IsolationSummary, RunId, TenantId, TrustTier,
};
use sandgate_engine::config;
use sandgate_engine::plan::{PlanInput, plan};
use sandgate_integration_agent::{Agent, AgentParts, AgentService, Logs, NewRun, RunSource};
use sandgate_store::Store;
use sandgate_testkit::{CountingIds, MockClock};
use sandgate_wire::agent::v1::agent_client::AgentClient;
use sandgate_wire::agent::v1::{
    AppendLogReply, AppendLogRequest, Assignment, ClaimRequest, CompleteReply, CompleteRequest,
    RenewReply, RenewRequest, Room,
};
use sandgate_wire::common::v1::Stream;
use sandgate_wire::token::{TokenKey, with_step_token};
use sandgate_wire::{Connection, InProcess, error_code};
use tonic::Status;
use tonic::service::Routes;

/// The secret of the tokens.
pub const SECRET: [u8; 32] = [7; 32];

/// A whole agent.
pub struct Fixture {
    pub agent: Agent,
    pub logs: Logs,
    pub clock: MockClock,
    pub client: AgentClient<Connection>,
    _services: InProcess,
    _folder: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = MockClock::default();
        let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
        let logs = Logs::new(folder.path().join("logs"));
        let ids: Arc<dyn Ids> = Arc::new(CountingIds::default());
        let agent = Agent::new(AgentParts {
            store,
            tenant: TenantId::default(),
            logs: logs.clone(),
            clock: Arc::new(clock.clone()),
            ids,
            relay: Arc::default(),
        });
        let services = InProcess::new();
        let service = AgentService::new(agent.clone(), TokenKey::new(&SECRET));
        services.bind(Routes::new(service.server())).unwrap();
        let client = AgentClient::new(services.connection());
        Self { agent, logs, clock, client, _services: services, _folder: folder }
    }

    /// A run of this configuration that has begun.
    pub async fn run(&self, gates: &str) -> RunId {
        let run = self.agent.create_run(new_run(gates, true)).await.unwrap();
        self.agent.begin(run, &isolation()).await.unwrap();
        run
    }

    pub async fn try_claim(&self, only: Option<RunId>, wait: Duration) -> Option<Assignment> {
        let run = only.map(|run| run.to_string());
        let wait_ms = u32::try_from(wait.as_millis()).unwrap();
        let mut claimed = self.claim_as(ClaimRequest { run, wait_ms, ..next() }).await;
        assert!(claimed.len() <= 1, "there is room for one more at a time");
        claimed.pop()
    }

    pub async fn claim_as(&self, request: ClaimRequest) -> Vec<Assignment> {
        self.client.clone().claim(request).await.unwrap().into_inner().assignments
    }

    pub async fn claim(&self) -> Assignment {
        self.try_claim(None, Duration::ZERO).await.expect("a step is ready")
    }

    pub async fn renew(&self, token: &str, wait: Duration) -> Result<RenewReply, Status> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap();
        let request = with_step_token(RenewRequest { wait_ms, started_at: None }, token);
        self.client.clone().renew(request).await.map(tonic::Response::into_inner)
    }

    pub async fn append(
        &self,
        token: &str,
        offset: u64,
        data: &[u8],
    ) -> Result<AppendLogReply, Status> {
        let stream = Stream::Stdout.into();
        let message = AppendLogRequest { offset, stream, data: data.to_vec().into() };
        let request = with_step_token(message, token);
        self.client.clone().append_log(request).await.map(tonic::Response::into_inner)
    }

    pub async fn complete(
        &self,
        token: &str,
        report: CompleteRequest,
    ) -> Result<CompleteReply, Status> {
        let request = with_step_token(report, token);
        self.client.clone().complete(request).await.map(tonic::Response::into_inner)
    }

    /// The report of an attempt that ended with this status.
    pub fn exited(&self, code: i32) -> CompleteRequest {
        CompleteRequest {
            outcome: format!("{{\"exited\":{code}}}"),
            ended_at: self.clock.now().as_micros(),
            ..CompleteRequest::default()
        }
    }

    /// The report of an attempt that could not be run.
    pub fn lost(&self) -> CompleteRequest {
        let outcome = r#"{"infra":{"reason":"no sandbox"}}"#.to_owned();
        CompleteRequest { outcome, ..self.exited(0) }
    }
}

/// A claim of a runner that has nothing under way and works on one step at a time.
pub fn next() -> ClaimRequest {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let owner = format!("runner {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    ClaimRequest { owner, run: None, wait_ms: 0, room: Some(room(1)) }
}

/// Of a machine that has enough of everything.
pub fn room(slots: u32) -> Room {
    let (cpu_millis, memory_bytes) = (64_000, 1 << 40);
    Room { slots, cpu_millis, memory_bytes, available_bytes: 1 << 40, reserve_bytes: 0 }
}

pub fn isolation() -> IsolationSummary {
    let limits = Vec::new();
    IsolationSummary { namespaces: true, limits, network: true, level: IsolationLevel::Namespaces }
}

/// A run of a configuration; any process can read its files if it `is_committed`.
pub fn new_run(gates: &str, is_committed: bool) -> NewRun {
    let text = format!("version: 1\ngates:\n{gates}");
    let parsed = config::parse(&text, ".sandgate.yaml").unwrap();
    let source = RunSource {
        folder: PathBuf::from("/srv/price"),
        sha: "a".repeat(40),
        base: None,
        branch: None,
    };
    NewRun {
        repository: "acme/price".to_owned(),
        repository_key: "acme/price".to_owned(),
        head_sha: "a".repeat(40),
        base_sha: None,
        branch: None,
        dirty: false,
        tier: TrustTier::Member,
        plan: plan(&parsed.config, &PlanInput::default()).unwrap(),
        unsupported: Vec::new(),
        source: is_committed.then_some(source),
        is_whole: true,
        pull_request: None,
        revision: 0,
        request_key: None,
    }
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: ErrorCode) {
    assert_eq!(error_code(&answer.unwrap_err()), code);
}
