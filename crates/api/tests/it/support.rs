//! The front doors with their services, and requests as a caller would send them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use sandgate_api::{AccessToken, AllowedHosts, Clients, Config, Connections, WebhookSecret};
use sandgate_domain::{Clock, Timestamp};
use sandgate_wire::InProcess;
use sandgate_wire::MAX_ACCEPT_BYTES;
use sandgate_wire::pulls::v1::pull_requests_server::PullRequestsServer;
use sandgate_wire::pulls::v1::repositories_server::RepositoriesServer;
use sandgate_wire::pulls::v1::{AcceptRequest, Check, PullRequest, Repository};
use sandgate_wire::runs::v1::runs_server::RunsServer;
use sandgate_wire::runs::v1::{Gate, Run};
use sandgate_wire::sandboxes::v1::SandboxRow;
use sandgate_wire::sandboxes::v1::sandboxes_server::SandboxesServer;
use sandgate_wire::snapshots::v1::Snapshot;
use sandgate_wire::snapshots::v1::snapshots_server::SnapshotsServer;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::services::Memory;

pub const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub const SECRET: &[u8] = b"shared with the forge";
pub const HOST: &str = "localhost:8080";
pub const RUN: &str = "run_00000000000000000000000000000001";
pub const LIVE_RUN: &str = "run_00000000000000000000000000000002";
pub const GATE: &str = "step_00000000000000000000000000000011";
pub const LIVE_GATE: &str = "step_00000000000000000000000000000022";
pub const SNAPSHOT: &str = "snap_00000000000000000000000000000001";
pub const PULL: &str = "pr_7";
pub const DELIVERY: &str = "9f1d2c3e-0000-4000-8000-00000000000f";
pub const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// 2026-11-21T10:00:00Z.
pub const NOW: i64 = 1_795_255_200_000_000;

pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOW)
    }
}

/// The front doors, and what is behind them.
pub struct Doors {
    pub router: axum::Router,
    pub memory: Memory,
    _process: InProcess,
}

/// How the front doors are set up.
pub struct Setup {
    pub bound: &'static str,
    pub has_secret: bool,
    pub clock: Arc<dyn Clock>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { bound: "127.0.0.1:8080", has_secret: true, clock: Arc::new(FixedClock) }
    }
}

/// The front doors with something in every service.
pub fn doors() -> Doors {
    let doors = with(Setup::default());
    fill(&doors.memory);
    doors
}

/// The front doors with empty services.
pub fn with(setup: Setup) -> Doors {
    let memory = Memory::default();
    let process = InProcess::new();
    let pulls = PullRequestsServer::new(memory.clone()).max_decoding_message_size(MAX_ACCEPT_BYTES);
    let routes = Routes::new(RunsServer::new(memory.clone()))
        .add_service(pulls)
        .add_service(RepositoriesServer::new(memory.clone()))
        .add_service(SnapshotsServer::new(memory.clone()))
        .add_service(SandboxesServer::new(memory.clone()));
    process.bind(routes).unwrap();
    let config = Config {
        token: AccessToken::parse(TOKEN).unwrap(),
        hosts: AllowedHosts::new(setup.bound.parse().unwrap(), &["gates.example.com".to_owned()])
            .unwrap(),
        webhook_secret: setup.has_secret.then(|| WebhookSecret::new(SECRET).unwrap()),
        data_dir: Some(PathBuf::from("/srv/my data")),
        version: "1.2.3".to_owned(),
        clock: setup.clock,
        metrics: prometheus_client::registry::Registry::default(),
    };
    let clients = Clients::new(Connections {
        runs: process.connection(),
        pulls: process.connection(),
        snapshots: process.connection(),
        sandboxes: process.connection(),
    });
    Doors { router: sandgate_api::router(config, clients), memory, _process: process }
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem with this status and code.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:sandgate:problem:{code}"));
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

impl Doors {
    pub async fn start(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.start(request).await.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, Body::empty())).await
    }

    pub async fn post(&self, path: &str, json: &str) -> Answer {
        let mut request = request("POST", path, Body::from(json.to_owned()));
        let media = "application/json".parse().unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, media);
        self.send(request).await
    }
}

/// A request with the token, under our name.
pub fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    let mut request = anonymous(method, path, body);
    let bearer = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    request
}

/// A request without the token.
pub fn anonymous(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(path).header(header::HOST, HOST).body(body).unwrap()
}

/// A run that failed and one that runs, a held and an open pull request, and something of everything else.
pub fn fill(memory: &Memory) {
    let mut held = memory.held();
    held.repositories.push(Repository {
        name: "acme/web".to_owned(),
        path: "/srv/web".to_owned(),
        default_branch: "main".to_owned(),
        added_at: NOW - 86_400_000_000,
    });
    held.runs = vec![live_run(), ended_run()];
    held.logs = vec![
        (GATE.to_owned(), b"\x1b[1mrunning 12 tests\x1b[0m\ncart::total ... \x1b[31mFAILED\x1b[0m\n\nassertion `left == right` failed\n  left: 41\n right: 42\n".to_vec()),
        (LIVE_GATE.to_owned(), b"installing\n".to_vec()),
    ];
    held.pulls = vec![pull_request(true), pull_request(false)];
    held.snapshots.push(snapshot());
    let delivery = AcceptRequest {
        delivery_id: DELIVERY.to_owned(),
        event: "pull_request".to_owned(),
        ..AcceptRequest::default()
    };
    held.deliveries.push((delivery, "ignored"));
    held.sandboxes.push(SandboxRow {
        id: "sbx_00000000000000000000000000000001".to_owned(),
        node: "node-1".to_owned(),
        run: Some(LIVE_RUN.to_owned()),
        step: Some(LIVE_GATE.to_owned()),
        state: "live".to_owned(),
        created_at: NOW - 2_000_000,
    });
}

fn gate(id: &str, name: &str, run: &str, state: &str) -> Gate {
    Gate {
        id: id.to_owned(),
        name: name.to_owned(),
        run: run.to_owned(),
        state: state.to_owned(),
        blocking: true,
        queued_at: NOW - 60_000_000,
        ..Gate::default()
    }
}

fn ended_run() -> Run {
    let ended = |result: &str, millis: i64| Gate {
        result: Some(result.to_owned()),
        attempts: 1,
        exit_code: Some(0),
        claimed_at: Some(NOW - 60_000_000 + 3_000),
        started_at: Some(NOW - 60_000_000 + 7_000),
        ended_at: Some(NOW - 60_000_000 + 7_000 + millis * 1000),
        ..gate("", "", RUN, "ended")
    };
    let unit = Gate {
        id: GATE.to_owned(),
        name: "unit (node=20)".to_owned(),
        exit_code: Some(101),
        snapshot: Some(SNAPSHOT.to_owned()),
        reports: Some(r#"{"tests":12,"failed":1,"failures":[{"name":"cart::total","file":"src/cart.rs","line":41,"message":"assertion `left == right` failed\n  left: 41\n right: 42"}]}"#.to_owned()),
        cost_micro_usd: 1_250_001,
        ..ended("failure", 400)
    };
    let build = Gate {
        id: "step_00000000000000000000000000000012".to_owned(),
        name: "build".to_owned(),
        ..ended("success", 12_345)
    };
    let setup = Gate {
        id: "step_00000000000000000000000000000013".to_owned(),
        name: "default".to_owned(),
        is_setup: true,
        ..ended("success", 65_000)
    };
    let docs = Gate {
        id: "step_00000000000000000000000000000014".to_owned(),
        name: "docs".to_owned(),
        blocking: false,
        result: Some("skip".to_owned()),
        reason: Some("no changed path matches docs/**".to_owned()),
        ..gate("", "", RUN, "ended")
    };
    Run {
        id: RUN.to_owned(),
        repository: "acme/web".to_owned(),
        sha: SHA.to_owned(),
        branch: Some("feature/cart".to_owned()),
        base_sha: Some("f".repeat(40)),
        state: "ended".to_owned(),
        result: Some("failure".to_owned()),
        isolation: Some(r#"{"namespaces":true,"limits":["memory","pids"],"network":true,"level":"namespaces"}"#.to_owned()),
        unsupported: r#"[{"key":"preview","file":".sandgate.yaml","line":9,"column":1,"instead":"start the app in a gate"}]"#.to_owned(),
        created_at: NOW - 60_000_000,
        started_at: Some(NOW - 59_000_000),
        ended_at: Some(NOW - 30_000_000),
        gates: vec![setup, build, Gate { name: unit.name.clone(), ..unit }, docs],
        pull_request: Some(PULL.to_owned()),
        ..Run::default()
    }
}

fn live_run() -> Run {
    let running = Gate {
        attempts: 1,
        claimed_at: Some(NOW - 2_000_000),
        started_at: Some(NOW - 1_990_000),
        ..gate(LIVE_GATE, "integration", LIVE_RUN, "claimed")
    };
    let waiting = Gate {
        waiting: Some("needs integration".to_owned()),
        ..gate("step_00000000000000000000000000000023", "deploy", LIVE_RUN, "waiting")
    };
    Run {
        id: LIVE_RUN.to_owned(),
        repository: "acme/web".to_owned(),
        sha: "a".repeat(40),
        branch: Some("main".to_owned()),
        state: "running".to_owned(),
        created_at: NOW - 5_000_000,
        started_at: Some(NOW - 2_000_000),
        waiting: Some("2 of 2 processors are in use".to_owned()),
        gates: vec![running, waiting],
        ..Run::default()
    }
}

fn pull_request(held: bool) -> PullRequest {
    let check = |name: &str, conclusion: Option<&str>, title: &str| Check {
        name: name.to_owned(),
        sha: SHA.to_owned(),
        status: if conclusion.is_some() { "completed" } else { "queued" }.to_owned(),
        conclusion: conclusion.map(str::to_owned),
        title: title.to_owned(),
        summary: String::new(),
    };
    let checks = if held {
        vec![check("sandgate", Some("action_required"), "waits for an approval")]
    } else {
        vec![
            check("sandgate", Some("failure"), "1 of 3 gates failed"),
            check("sandgate / unit (node=20)", Some("failure"), "cart::total failed"),
            check("sandgate / build", Some("success"), "passed in 12.3 s"),
        ]
    };
    PullRequest {
        id: if held { "pr_8" } else { PULL }.to_owned(),
        repository: "acme/web".to_owned(),
        number: if held { 8 } else { 7 },
        title: if held { "Speed up the cart" } else { "Count the cart right" }.to_owned(),
        author: if held { "stranger" } else { "ada" }.to_owned(),
        head_sha: SHA.to_owned(),
        head_branch: "feature/cart".to_owned(),
        base_sha: "f".repeat(40),
        base_branch: "main".to_owned(),
        fork: held,
        tier: if held { "fork" } else { "member" }.to_owned(),
        state: "open".to_owned(),
        held,
        generation: 1,
        updated_at: NOW - 3_600_000_000,
        checks,
        comment: (!held).then(|| {
            "<!-- sandgate:acme/web#7 -->\n### ✗ Failure\n\n| gate | result |\n|---|---|\n| unit (node=20) | failure |\n"
                .to_owned()
        }),
        run: (!held).then(|| RUN.to_owned()),
        ..PullRequest::default()
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        id: SNAPSHOT.to_owned(),
        repository: "acme/web".to_owned(),
        run: RUN.to_owned(),
        gate: Some("unit (node=20)".to_owned()),
        kind: "debug".to_owned(),
        state: "local".to_owned(),
        layers: vec!["layer_00000000000000000000000000000001".to_owned()],
        base_fingerprint: "host:x".to_owned(),
        entry: r#"{"directory":"/work"}"#.to_owned(),
        created_at: NOW,
        expires_at: None,
        pinned: false,
        bytes: 4096,
    }
}
