//! The service under test, that can be killed and started again, and the repository that it knows.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sandgate_bus::{Bus, EmbeddedBus, Message, Subscription, subjects};
use sandgate_domain::{Clock, Event, EventId, EventType, RunChanged, TenantId};
use sandgate_forge::local::{Git, Mirrors};
use sandgate_pr_automation::{Dependencies, PrService, Settings};
use sandgate_store::Store;
use sandgate_testkit::{CountingIds, MockClock};
use sandgate_wire::pulls::v1::pull_requests_client::PullRequestsClient;
use sandgate_wire::pulls::v1::repositories_client::RepositoriesClient;
use sandgate_wire::pulls::v1::source_client::SourceClient;
use sandgate_wire::pulls::v1::*;
use sandgate_wire::runs::v1::Run;
use sandgate_wire::runs::v1::runs_server::RunsServer;
use sandgate_wire::{Connection, InProcess};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;

use crate::runs::Held;

const LISTENER: &str = "test";
const PATIENCE: Duration = Duration::from_secs(20);
pub const NAME: &str = "acme/web";

/// What outlives a kill: the disk, the clock, and the runs of another service.
pub struct Place {
    pub folder: TempDir,
    pub clock: MockClock,
    ids: Arc<CountingIds>,
    pub runs: Held,
}

/// A started service.
pub struct Service {
    pub store: Store,
    pub bus: Arc<dyn Bus>,
    process: InProcess,
    service: Option<PrService>,
    task: Option<(CancellationToken, JoinHandle<()>)>,
    ids: Arc<CountingIds>,
    clock: MockClock,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: MockClock::default(),
            ids: Arc::default(),
            runs: Held::default(),
        }
    }

    /// The service, serving calls; its tasks don't run yet.
    pub async fn open(&self) -> Service {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let store = Store::open(&self.folder.path().join("state.db"), &*clock).await.unwrap();
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::start(&store, Arc::clone(&clock)));
        let git = Git::find(OsStr::new("/usr/local/bin:/usr/bin:/bin")).await.unwrap();
        let mirrors = Mirrors::open(&self.folder.path().join("mirrors"), git).unwrap();
        let process = InProcess::new();
        let ids = Arc::clone(&self.ids);
        let dependencies = Dependencies {
            store: store.clone(),
            bus: Arc::clone(&bus),
            clock,
            ids: ids.clone(),
            mirrors,
            runs: process.connection(),
        };
        let service = PrService::new(dependencies, Settings::default());
        let routes = Routes::new(RunsServer::new(self.runs.clone()));
        process.bind(service.serve(routes)).unwrap();
        let listening = Subscription {
            name: LISTENER.to_owned(),
            filters: vec![subjects::entity("pr"), subjects::entity("branch")],
            lease: Duration::from_secs(600),
            max_deliveries: 5,
        };
        bus.subscribe(&listening).await.unwrap();
        let clock = self.clock.clone();
        Service { store, bus, process, service: Some(service), task: None, ids, clock }
    }

    /// The service with its tasks.
    pub async fn start(&self) -> Service {
        let mut service = self.open().await;
        service.run();
        service
    }

    /// A repository with one commit on `main`, known as [`NAME`].
    pub async fn repository(&self, service: &Service) -> PathBuf {
        let path = self.folder.path().canonicalize().unwrap().join("source");
        std::fs::create_dir(&path).unwrap();
        git(&path, &["init", "--quiet", "--initial-branch=main"]);
        commit(&path, "README", "one\ntwo\nthree\n");
        service.add(NAME, &path).await;
        path
    }
}

impl Service {
    pub fn run(&mut self) {
        let stop = CancellationToken::new();
        let running = self.service.take().unwrap().run(stop.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        self.task = Some((stop, task));
    }

    /// The service works beside `body`, in the same task, and ends in good order after it.
    pub async fn working(&mut self, body: impl AsyncFnOnce(&Service)) {
        let stop = CancellationToken::new();
        let running = self.service.take().unwrap().run(stop.clone());
        let body = async {
            body(self).await;
            stop.cancel();
        };
        let (ran, ()) = tokio::join!(running, body);
        ran.unwrap();
    }

    /// Waits until every event is consumed and every effect is written.
    pub async fn await_idle(&self) {
        let effects = self.store.effects(&TenantId::default());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let events = self.store.event_log().waiting("pr-automation.runs").await.unwrap();
            let planned = effects.unsettled(self.clock.now(), 9).await.unwrap();
            if events == 0 && planned.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {events} and {planned:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Nothing more is done, at whatever point it is.
    pub async fn kill(self) {
        if let Some((_, task)) = self.task {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        self.store.close().await;
    }

    /// Ends in good order.
    pub async fn stop(self) {
        let (stop, task) = self.task.unwrap();
        stop.cancel();
        task.await.unwrap();
        self.store.close().await;
    }

    fn connection(&self) -> Connection {
        self.process.connection()
    }

    pub fn pulls(&self) -> PullRequestsClient<Connection> {
        PullRequestsClient::new(self.connection())
    }

    pub fn source(&self) -> SourceClient<Connection> {
        SourceClient::new(self.connection())
    }

    pub async fn add(&self, name: &str, path: &Path) -> Repository {
        let path = path.to_str().unwrap().to_owned();
        let request = AddRepositoryRequest { name: name.to_owned(), path };
        RepositoriesClient::new(self.connection()).add(request).await.unwrap().into_inner()
    }

    pub async fn accept(&self, id: &str, event: &str, body: &Value) -> Result<AcceptReply, Status> {
        let request = AcceptRequest {
            delivery_id: id.to_owned(),
            event: event.to_owned(),
            body: body.to_string().into_bytes().into(),
            content_type: "application/json".to_owned(),
        };
        self.pulls().accept(request).await.map(tonic::Response::into_inner)
    }

    pub async fn redeliver(&self, id: &str) -> Result<AcceptReply, Status> {
        let request = RedeliverRequest { delivery_id: id.to_owned() };
        self.pulls().redeliver(request).await.map(tonic::Response::into_inner)
    }

    /// A delivery that is queued.
    pub async fn deliver(&self, id: &str, body: &Value) {
        let reply = self.accept(id, "pull_request", body).await.unwrap();
        assert_eq!((reply.outcome.as_str(), reply.reason), ("queued", None), "{id}");
    }

    pub async fn get(&self, number: u64) -> PullRequest {
        let request = GetPullRequestRequest {
            repository: NAME.to_owned(),
            number,
            ..GetPullRequestRequest::default()
        };
        self.pulls().get(request).await.unwrap().into_inner()
    }

    /// The pull request as soon as it is as wanted.
    pub async fn await_pull(
        &self,
        number: u64,
        is_wanted: impl Fn(&PullRequest) -> bool,
    ) -> PullRequest {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let pull = self.get(number).await;
            if is_wanted(&pull) {
                return pull;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {pull:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The next event, acknowledged: its type without prefix and version, and its data.
    pub async fn next_event(&self) -> (String, Value) {
        let mut fetched = self.bus.fetch(LISTENER, 1, PATIENCE).await.unwrap();
        let delivery = fetched.pop().expect("an event");
        self.bus.ack(&delivery).await.unwrap();
        let event = delivery.message.event().unwrap();
        (format!("{}.{}", event.kind.entity(), event.kind.event()), event.data)
    }

    /// All events that are there: the type of each without prefix and version, and its data.
    pub async fn all_events(&self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        for delivery in self.bus.fetch(LISTENER, 500, Duration::ZERO).await.unwrap() {
            let event = delivery.message.event().unwrap();
            events.push((format!("{}.{}", event.kind.entity(), event.kind.event()), event.data));
        }
        events
    }

    /// The names of all events that are there.
    pub async fn events(&self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let fetched = self.bus.fetch(LISTENER, 100, Duration::ZERO).await.unwrap();
            if fetched.is_empty() {
                return names;
            }
            for delivery in fetched {
                self.bus.ack(&delivery).await.unwrap();
                let kind = delivery.message.event().unwrap().kind;
                names.push(format!("{}.{}", kind.entity(), kind.event()));
            }
        }
    }

    /// Says on the bus that a run changed.
    pub async fn tell(&self, name: &str, run: &Run) {
        let changed = RunChanged {
            run: run.id.parse().unwrap(),
            pull_request: run.pull_request.as_deref().map(|id| id.parse().unwrap()),
            repository: run.repository.clone(),
            sha: run.sha.clone(),
            generation: u64::from(run.generation),
            result: run.result.as_deref().map(|result| result.parse().unwrap()),
        };
        let event = Event::new(
            EventId::new(&*self.ids),
            "sandgate/integration-agent",
            EventType::new("run", name, 1).unwrap(),
            run.id.clone(),
            self.clock.now(),
            TenantId::default(),
            serde_json::to_value(changed).unwrap(),
        );
        let message = Message::outgoing(&event, BTreeMap::new()).unwrap();
        self.bus.publish(&Message::from(message)).await.unwrap();
    }

    /// How often the comment and the checks of a pull request's head were written, by slot.
    pub async fn versions(&self, pull: &PullRequest) -> Vec<(String, u64)> {
        let postings = self.store.postings(&TenantId::default());
        let mut found = postings.shown(&format!("pull:{}", pull.id)).await.unwrap();
        let target = format!("commit:{}:{}", pull.repository, pull.head_sha);
        found.extend(postings.shown(&target).await.unwrap());
        found.into_iter().map(|posting| (posting.slot, posting.version)).collect()
    }
}

pub fn sha(letter: char) -> String {
    letter.to_string().repeat(40)
}

/// A payload: an action on a pull request with this head, at this second.
pub fn payload(number: u64, action: &str, head: char, second: u32) -> Value {
    json!({
        "action": action, "number": number,
        "pull_request": {
            "number": number, "title": "A title", "draft": false, "merged": false,
            "state": if action == "closed" { "closed" } else { "open" },
            "updated_at": format!("2024-05-06T07:08:{second:02}Z"),
            "author_association": "MEMBER", "user": {"login": "alice", "type": "User"},
            "head": {"ref": "topic", "sha": sha(head), "repo": {"full_name": NAME}},
            "base": {"ref": "main", "sha": sha('f'), "repo": {"full_name": NAME}},
        },
        "repository": {"full_name": NAME, "default_branch": "main"},
        "sender": {"login": "alice", "type": "User"},
    })
}

/// The same from somebody else's repository.
pub fn fork(mut payload: Value) -> Value {
    payload["pull_request"]["head"]["repo"]["full_name"] = json!("mallory/web");
    payload["pull_request"]["author_association"] = json!("NONE");
    payload["pull_request"]["user"]["login"] = json!("mallory");
    payload["sender"]["login"] = json!("mallory");
    payload
}

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments);
    for (key, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.org"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@example.org"),
    ] {
        command.env(key, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Writes a file, commits it, and gives the commit.
pub fn commit(folder: &Path, file: &str, content: &str) -> String {
    std::fs::write(folder.join(file), content).unwrap();
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", file]);
    git(folder, &["rev-parse", "HEAD"])
}
