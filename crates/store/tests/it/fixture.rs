//! A database of its own for every test, and values to put into it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sandgate_domain::{
    Clock, Entry, IsolationLevel, LayerId, NetworkAccess, Resources, Run, RunId, RunState,
    Snapshot, SnapshotId, SnapshotKind, SnapshotState, Step, StepId, StepKind, StepState, TenantId,
    Timestamp,
};
use sandgate_store::{BuildClaim, LayerRequest, Store};
use sandgate_testkit::{CountingIds, MockClock};

pub const LEASE: Duration = Duration::from_secs(30);

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub clock: MockClock,
    pub ids: CountingIds,
    pub tenant: TenantId,
    pub store: Store,
}

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = MockClock::default();
        let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
        let tenant = TenantId::default();
        Self { folder, clock, ids: CountingIds::default(), tenant, store }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// Another set of connections to the same file, as another process has them.
    pub async fn open_again(&self) -> Store {
        Store::open(&self.path(), &self.clock).await.unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn run(&self) -> Run {
        Run {
            id: RunId::new(&self.ids),
            tenant: self.tenant.clone(),
            repository: "/srv/app".to_owned(),
            repository_key: "app".to_owned(),
            head_sha: "a".repeat(40),
            base_sha: None,
            branch: Some("feature/ü".to_owned()),
            dirty: true,
            plan: r#"{"gates":[]}"#.to_owned(),
            progress: "{}".to_owned(),
            pull_request: None,
            request_key: None,
            generation: 3,
            state: RunState::Queued,
            isolation: None,
            unsupported: Vec::new(),
            created_at: self.now(),
            approved_snapshot: None,
        }
    }

    pub fn step(&self, run: RunId, name: &str, state: StepState) -> Step {
        Step {
            id: StepId::new(&self.ids),
            tenant: self.tenant.clone(),
            run,
            name: name.to_owned(),
            kind: StepKind::Gate,
            blocking: true,
            state,
            attempts: 0,
            infra_retries: 0,
            fence: 0,
            queued_at: self.now(),
        }
    }

    /// A run that is written down, with `count` ready steps.
    pub async fn planned(&self, count: usize) -> (Run, Vec<Step>) {
        let run = self.run();
        let steps: Vec<Step> = (0..count)
            .map(|number| self.step(run.id, &format!("gate-{number}"), StepState::Ready))
            .collect();
        self.store.runs(&self.tenant).create(&run, &steps).await.unwrap();
        (run, steps)
    }

    pub fn layer_request(&self, key: Option<&str>) -> LayerRequest {
        LayerRequest {
            id: LayerId::new(&self.ids),
            tier: sandgate_domain::TrustTier::Member,
            kind: sandgate_domain::LayerKind::Setup,
            key: key.map(str::to_owned),
            base_fingerprint: "host:1".to_owned(),
        }
    }

    /// A layer that is complete.
    pub async fn ready_layer(&self, key: Option<&str>) -> LayerId {
        let layers = self.store.layers(&self.tenant);
        let request = self.layer_request(key);
        let claim = layers.claim_build(&request, "builder", self.now(), LEASE).await.unwrap();
        let BuildClaim::Claimed { layer, fence, .. } = claim else { panic!("{claim:?}") };
        layers.finish_build(layer, fence, &content(), self.now()).await.unwrap();
        layer
    }

    pub fn snapshot(&self, run: &Run, layers: Vec<LayerId>) -> Snapshot {
        Snapshot {
            id: SnapshotId::new(&self.ids),
            tenant: self.tenant.clone(),
            repository_key: run.repository_key.clone(),
            run: run.id,
            gate: Some("unit".to_owned()),
            kind: SnapshotKind::Debug,
            state: SnapshotState::Sealing,
            layers,
            base_fingerprint: "host:1".to_owned(),
            entry: Entry {
                environment: BTreeMap::from([("CI".to_owned(), "true".to_owned())]),
                directory: "/work".to_owned(),
                commands: vec!["npm test".to_owned()],
                resources: Resources::default(),
                network: NetworkAccess::Hosts(vec!["registry.example.com".to_owned()]),
                isolation: IsolationLevel::Process,
            },
            created_at: self.now(),
            expires_at: Some(self.now().plus(Duration::from_secs(3600))),
            pinned: false,
        }
    }
}

pub fn content() -> sandgate_domain::LayerContent {
    sandgate_domain::LayerContent { digest: "blake3:00".to_owned(), bytes: 10, files: 2 }
}
