//! What holds across a restart, and what is left behind.

use sandgate_domain::{IsolationLevel, IsolationSummary};
use sandgate_engine::config;
use sandgate_engine::plan::{PlanInput, plan};
use sandgate_testkit::{CountingIds, MockClock};

use super::*;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    logs: Logs,
    ids: Arc<CountingIds>,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = MockClock::default();
        let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
        let logs = Logs::new(folder.path().join("logs"));
        Self { _folder: folder, store, logs, ids: Arc::default() }
    }

    /// The agent of a process that has just started.
    fn agent(&self) -> Agent {
        Agent::new(AgentParts {
            store: self.store.clone(),
            tenant: TenantId::default(),
            logs: self.logs.clone(),
            clock: Arc::new(MockClock::default()),
            ids: Arc::clone(&self.ids) as Arc<dyn Ids>,
            relay: Arc::default(),
        })
    }
}

fn isolation() -> IsolationSummary {
    let limits = Vec::new();
    IsolationSummary { namespaces: true, limits, network: true, level: IsolationLevel::Namespaces }
}

fn new_run(source: Option<RunSource>) -> NewRun {
    let text = "version: 1\ngates:\n  test: { run: echo }\n";
    let parsed = config::parse(text, ".sandgate.yaml").unwrap();
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
        source,
        is_whole: true,
        pull_request: None,
        revision: 0,
        request_key: None,
    }
}

async fn claimed(agent: &Agent, owner: &str, only: Option<RunId>) -> Assignment {
    let claimer = Claimer { owner: owner.to_owned(), only };
    agent.claim(&claimer, Duration::ZERO).await.unwrap().unwrap()
}

fn committed() -> Option<RunSource> {
    let (folder, sha) = ("/srv/price".into(), "a".repeat(40));
    Some(RunSource { folder, sha, base: None, branch: None })
}

#[tokio::test]
async fn a_run_that_was_started_and_not_begun_begins_at_the_next_start() {
    let fixture = Fixture::new().await;
    let run = fixture.agent().create_run(new_run(committed())).await.unwrap();
    let now = MockClock::default().now();
    let runs = fixture.store.runs(&TenantId::default());
    assert!(runs.start(run, &isolation(), now).await.unwrap());

    let agent = fixture.agent();
    agent.recover(&isolation(), |_| true).await.unwrap();
    let (_, steps) = agent.run(run).await.unwrap();
    assert_eq!(steps[0].state, sandgate_domain::StepState::Ready);
}

#[tokio::test]
async fn asking_for_a_known_verdict_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    let agent = fixture.agent();
    let run = agent.create_run(new_run(committed())).await.unwrap();
    let listener = agent.watch(run);
    agent.let_go(run);
    assert_eq!(lock(&agent.inner.watched).len(), 1, "somebody listens");
    drop(listener);
    agent.abandon(run, GateResult::Cancellation, "not wanted").await.unwrap();
    assert_eq!(agent.verdict(run).await.unwrap(), GateResult::Cancellation);
    assert!(lock(&agent.inner.watched).is_empty());
}

#[tokio::test]
async fn a_runner_of_all_runs_leaves_those_of_a_working_tree_alone() {
    let fixture = Fixture::new().await;
    let agent = fixture.agent();
    let tree = agent.create_run(new_run(None)).await.unwrap();
    let commit = agent.create_run(new_run(committed())).await.unwrap();
    for run in [tree, commit] {
        agent.begin(run, &isolation()).await.unwrap();
    }
    assert_eq!(claimed(&agent, "anybody", None).await.run.id, commit);
    assert_eq!(claimed(&agent, "its own", Some(tree)).await.run.id, tree);
}

#[tokio::test]
async fn a_step_that_was_to_stop_before_a_restart_is_to_stop_after_it() {
    let fixture = Fixture::new().await;
    let before = fixture.agent();
    let run = before.create_run(new_run(committed())).await.unwrap();
    before.begin(run, &isolation()).await.unwrap();
    before.cancel(run, "not wanted").await.unwrap();

    let agent = fixture.agent();
    let claimed = claimed(&agent, "another process", None).await;
    assert_eq!(claimed.run.id, run);
    let renewed = agent.renew(claimed.held(), Duration::from_secs(20)).await.unwrap();
    assert_eq!(renewed.stop.as_deref(), Some("not wanted"));
}

#[tokio::test]
async fn a_request_that_is_sent_again_finds_its_run_and_says_so() {
    let fixture = Fixture::new().await;
    let agent = fixture.agent();
    let asked = |key: &str| NewRun { request_key: Some(key.to_owned()), ..new_run(committed()) };
    let (first, existed) = agent.find_or_create_run(asked("request:1")).await.unwrap();
    assert!(!existed);
    assert_eq!(agent.find_or_create_run(asked("request:1")).await.unwrap(), (first, true));
    let (other, existed) = agent.find_or_create_run(asked("request:2")).await.unwrap();
    assert!(other != first && !existed);
}
