//! What holds across a restart, and what is left behind.

use sandgate_domain::{IsolationLevel, IsolationSummary};
use sandgate_engine::config;
use sandgate_engine::plan::{PlanInput, plan};
use sandgate_testkit::{CountingIds, MockClock};

use super::*;
use crate::outside::room;

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
    let claimer = Claimer { owner: owner.to_owned(), only, room: room(1) };
    agent.claim(&claimer, Duration::ZERO).await.unwrap().remove(0)
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

/// What each step of a run waits for, by name.
async fn reasons(agent: &Agent, run: RunId) -> Vec<(String, String)> {
    let reasons = agent.reasons().await.unwrap();
    let (_, steps) = agent.run(run).await.unwrap();
    let told = |step: &Step| Some((step.name.clone(), reasons.get(&step.id)?.clone()));
    steps.iter().filter_map(told).collect()
}

#[tokio::test]
async fn each_step_that_waits_says_why_and_whoever_watches_is_told_once() {
    let fixture = Fixture::new().await;
    let agent = fixture.agent();
    let text = "version: 1\ngates:\n  a: { run: echo }\n  b: { run: echo }\n  c: { run: echo }\n  \
                d: { needs: [a, c], run: echo }\n";
    let parsed = config::parse(text, ".sandgate.yaml").unwrap();
    let plan = plan(&parsed.config, &PlanInput::default()).unwrap();
    let run = agent.create_run(NewRun { plan, ..new_run(committed()) }).await.unwrap();
    let mut progress = agent.watch(run);
    agent.begin(run, &isolation()).await.unwrap();
    let nobody = "no runner is serving".to_owned();
    let told = |all: [(&str, &str); 2]| all.map(|(name, why)| (name.to_owned(), why.to_owned()));
    assert!(reasons(&agent, run).await.iter().all(|(_, reason)| *reason == nobody));

    let claimer = Claimer { owner: "one".to_owned(), only: None, room: room(1) };
    let first = agent.claim(&claimer, Duration::ZERO).await.unwrap().remove(0);
    for _again in 0..2 {
        assert!(agent.claim(&claimer, Duration::from_millis(200)).await.unwrap().is_empty());
    }
    let expected =
        told([("b", "waits for a free slot: 1 of 1 in use"), ("c", "waits behind 1 step")]);
    assert_eq!(reasons(&agent, run).await, expected);
    let mut heard = Vec::new();
    while let Ok(event) = progress.try_recv() {
        if let Progress::Waits { step, reason, .. } = event {
            heard.push((step, reason));
        }
    }
    assert_eq!(heard, expected);
    let (row, steps) = agent.run(run).await.unwrap();
    assert_eq!(needed(&row, &steps[3], &steps), "waits for a and c");

    let cpu = sandgate_domain::Share { cpu_millis: 2500, ..room(9).share };
    let tight =
        Claimer { room: sandgate_engine::admission::Room { share: cpu, ..room(9) }, ..claimer };
    assert!(agent.claim(&tight, Duration::ZERO).await.unwrap().is_empty());
    let short = "waits for cpu: it asks for 2, 0.5 of 2.5 are free";
    assert_eq!(reasons(&agent, run).await, told([("b", short), ("c", "waits behind 1 step")]));
    drop(first);
}
