//! The contract of a node, over real sandboxes: what a caller on another machine would see.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{
    IsolationLevel, Resources, RunId, SandboxId, StepId, TenantId, Timestamp, TrustTier,
};
use sandgate_node::{HostEnvironment, Node, NodeConfig, NodeService};
use sandgate_testkit::MockClock;
use sandgate_wire::node::v1::exec_event::ended::How;
use sandgate_wire::node::v1::exec_event::{Ended, Event};
use sandgate_wire::node::v1::node_client::NodeClient;
use sandgate_wire::node::v1::node_server::NodeServer;
use sandgate_wire::node::v1::read_files_reply::Found;
use sandgate_wire::node::v1::{
    CheckLayerRequest, CreateSandboxRequest, DestroySandboxRequest, ExecEvent, ExecRequest,
    InspectRequest, KillRequest, ReadFilesRequest, RemoveLayersRequest, SandboxSpec, SealRule,
    SealSandboxRequest, check_layer_reply,
};
use sandgate_wire::token::{StepGuard, StepToken, TokenKey, with_step_token};
use sandgate_wire::{Connection, InProcess};
use tempfile::TempDir;
use tonic::service::Routes;
use tonic::{Code, Request, Streaming};
use uuid::Uuid;

use crate::support::{layer_id, sandbox_id, search_path};

/// A node of its own, called over its contract.
pub struct Machine {
    pub folder: TempDir,
    pub node: NodeClient<Connection>,
    /// Why no sandbox can be made.
    obstacle: Option<String>,
    _services: InProcess,
}

/// The step that sandboxes are made for.
pub const STEP: u128 = 5;

pub fn step_id(number: u128) -> StepId {
    StepId::from_uuid(Uuid::from_u128(number))
}

/// A call by whoever holds a step under a fence.
fn held_by<T>(message: T, step: u128, fence: u64) -> Request<T> {
    let token = StepToken {
        tenant: "default".parse::<TenantId>().unwrap(),
        run: RunId::from_uuid(Uuid::from_u128(4)),
        step: step_id(step),
        fence,
        lease_until: Timestamp::from_micros(i64::MAX / 2),
    };
    with_step_token(message, &key().sign(&token))
}

pub fn held<T>(message: T) -> Request<T> {
    held_by(message, STEP, 1)
}

fn member() -> String {
    TrustTier::Member.to_string()
}

fn key() -> TokenKey {
    TokenKey::new(&[7; 32])
}

/// What a command wrote, and how it ended.
struct Seen {
    stdout: String,
    stderr: String,
    ended: Ended,
}

impl Machine {
    /// None where no sandbox can be made; then the reason is told.
    async fn open(test: &str) -> Option<Self> {
        let machine = Self::open_at(IsolationLevel::Namespaces).await;
        if let Some(reason) = &machine.obstacle {
            sandgate_testkit::skip(test, reason);
            return None;
        }
        Some(machine)
    }

    /// A machine with consent to this level.
    pub async fn open_at(least: IsolationLevel) -> Self {
        let folder = TempDir::new().unwrap();
        let host = HostEnvironment { home: None, path: search_path(), variables: Vec::new() };
        let config = NodeConfig { folder: folder.path().join("node"), host, least };
        let node = Node::open(config).await.unwrap();
        let report = node.report();
        let missing = report.namespaces.iter().chain(&report.obstacle).find(|found| !found.held);
        let obstacle = missing.map(|missing| missing.reason.clone());
        let services = InProcess::new();
        let guard = StepGuard::new(key(), Arc::new(MockClock::default()));
        let service = NodeServer::new(NodeService::new(node, guard));
        services.bind(Routes::new(service)).unwrap();
        let node = NodeClient::new(services.connection());
        Self { folder, node, obstacle, _services: services }
    }

    async fn create(&self, number: u128, limits: Resources) -> SandboxId {
        let id = sandbox_id(number);
        let spec = SandboxSpec {
            limits: Some(limits.into()),
            directory: "/tmp".to_owned(),
            ..SandboxSpec::default()
        };
        let step = Some(step_id(STEP).to_string());
        let request =
            CreateSandboxRequest { id: id.to_string(), spec: Some(spec), step, tier: member() };
        let reply = self.node.clone().create_sandbox(request).await.unwrap().into_inner();
        assert_eq!(reply.environment.get("CI").map(String::as_str), Some("true"));
        id
    }

    async fn start(&self, id: SandboxId, script: &str, timeout: Duration) -> Streaming<ExecEvent> {
        let request = ExecRequest {
            sandbox: id.to_string(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            directory: "/tmp".to_owned(),
            environment: HashMap::from([
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("ONLY".to_owned(), "this".to_owned()),
            ]),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap(),
        };
        self.node.clone().exec(held(request)).await.unwrap().into_inner()
    }

    async fn run(&self, id: SandboxId, script: &str, timeout: Duration) -> Seen {
        let events = self.start(id, script, timeout).await;
        follow(events).await
    }

    /// Runs a script again and again until it ends so.
    async fn until(&self, id: SandboxId, script: &str, code: i32, otherwise: &str) {
        let deadline = tokio::time::Instant::now() + SOON;
        while self.run(id, script, SOON).await.ended.how != Some(How::ExitCode(code)) {
            assert!(tokio::time::Instant::now() < deadline, "{otherwise}");
        }
    }

    pub fn run_folder(&self, id: SandboxId) -> PathBuf {
        self.folder.path().join("node/sandboxes").join(id.to_string())
    }
}

async fn follow(mut events: Streaming<ExecEvent>) -> Seen {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut is_started = false;
    loop {
        let event = events.message().await.unwrap().expect("an end before the end");
        match event.event.unwrap() {
            Event::Started(_) => is_started = true,
            Event::Output(output) => match output.stream() {
                sandgate_wire::common::v1::Stream::Stderr => stderr.extend(&output.data),
                sandgate_wire::common::v1::Stream::Stdout
                | sandgate_wire::common::v1::Stream::Unspecified => stdout.extend(&output.data),
            },
            Event::Ended(ended) => {
                assert!(is_started);
                assert!(events.message().await.unwrap().is_none(), "an event after the end");
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return Seen { stdout: text(stdout), stderr: text(stderr), ended };
            }
        }
    }
}

const SOON: Duration = Duration::from_secs(60);
/// Ends well if a `sleep` runs in the sandbox.
const SLEEPS: &str =
    r#"for name in /proc/[0-9]*/comm; do [ "$(cat $name)" = sleep ] && exit 0; done; exit 1"#;

#[tokio::test]
async fn a_command_is_followed_to_its_end() {
    let Some(machine) = Machine::open("a_command_is_followed_to_its_end").await else { return };
    let id = machine.create(1, Resources::default()).await;
    let seen = machine.run(id, "pwd; echo $ONLY; env | wc -l >&2; exit 7", SOON).await;
    assert_eq!(seen.stdout, "/tmp\nthis\n");
    let variables: usize = seen.stderr.trim().parse().unwrap();
    assert!(variables <= 4, "PATH, ONLY, and what a shell adds itself: {variables}");
    assert_eq!(seen.ended.how, Some(How::ExitCode(7)));
    let signaled = machine.run(id, "kill -SEGV $$", SOON).await;
    assert_eq!(signaled.ended.how, Some(How::Signal(11)));
    let much = machine.run(id, "yes | head -c 10000000", SOON).await;
    assert_eq!(much.stdout.len(), 10_000_000);
}

#[tokio::test]
async fn time_runs_out_for_everything_inside() {
    let Some(machine) = Machine::open("time_runs_out_for_everything_inside").await else { return };
    let id = machine.create(1, Resources::default()).await;
    let script = "(setsid sleep 1000 &) ; echo on; sleep 1000";
    let seen = machine.run(id, script, Duration::from_millis(300)).await;
    assert_eq!(seen.stdout, "on\n");
    assert!(matches!(seen.ended.how, Some(How::TimedOut(_))), "{:?}", seen.ended);
    let after = machine.run(id, SLEEPS, SOON).await;
    assert_eq!(after.ended.how, Some(How::ExitCode(1)), "nothing sleeps any more");
}

#[tokio::test]
async fn nobody_waiting_ends_a_command() {
    let Some(machine) = Machine::open("nobody_waiting_ends_a_command").await else { return };
    let id = machine.create(1, Resources::default()).await;
    let mut events = machine.start(id, "echo on; exec sleep 1000", SOON).await;
    while let Some(event) = events.message().await.unwrap() {
        if matches!(event.event, Some(Event::Output(_))) {
            break;
        }
    }
    // The shell tells that it is on before it becomes the `sleep`.
    machine.until(id, SLEEPS, 0, "the control: it is there").await;
    drop(events);
    machine.until(id, SLEEPS, 1, "the command goes on without a listener").await;
}

#[tokio::test]
async fn what_was_written_is_read_sealed_and_removed() {
    let Some(machine) = Machine::open("what_was_written_is_read_sealed_and_removed").await else {
        return;
    };
    let mut node = machine.node.clone();
    let id = machine.create(1, Resources::default()).await;
    let script =
        "mkdir -p /workspace/r; cd /workspace/r; for n in 1 2 3; do printf 12345678 > $n.xml; done";
    assert_eq!(machine.run(id, script, SOON).await.ended.how, Some(How::ExitCode(0)));
    let request = ReadFilesRequest {
        sandbox: id.to_string(),
        globs: vec!["**/*.xml".to_owned()],
        max_files: 10,
        max_bytes: 100,
        max_total_bytes: 20,
    };
    let mut found = node.read_files(held(request)).await.unwrap().into_inner();
    let (mut files, mut left_out) = (0, Vec::new());
    while let Some(message) = found.message().await.unwrap() {
        match message.found.unwrap() {
            Found::File(file) => {
                assert_eq!(&file.content[..], b"12345678");
                files += 1;
            }
            Found::LeftOut(reason) => left_out.push(reason),
        }
    }
    assert_eq!((files, left_out.len()), (2, 1), "{left_out:?}");
    assert!(left_out[0].contains("more than 20 bytes"), "{left_out:?}");

    let layer = layer_id(9).to_string();
    let seal = SealSandboxRequest {
        sandbox: id.to_string(),
        layer: layer.clone(),
        rule: SealRule::Gate.into(),
        step: Some(step_id(STEP).to_string()),
    };
    let content = node.seal_sandbox(seal.clone()).await.unwrap().into_inner();
    assert_eq!(content.bytes, 24);
    assert_eq!(content.digest.len(), 64);
    assert!(!machine.run_folder(id).exists());
    let check = CheckLayerRequest { layer: layer.clone() };
    let checked = node.check_layer(check.clone()).await.unwrap().into_inner();
    assert_eq!(checked.state(), check_layer_reply::State::Whole);
    let again = node.seal_sandbox(seal).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again}");

    for _ in 0..2 {
        node.remove_layers(RemoveLayersRequest { layers: vec![layer.clone()] }).await.unwrap();
    }
    let checked = node.check_layer(check).await.unwrap().into_inner();
    assert_eq!(checked.state(), check_layer_reply::State::Missing);
}

#[tokio::test]
async fn ending_a_sandbox_twice_is_no_error() {
    let Some(machine) = Machine::open("ending_a_sandbox_twice_is_no_error").await else { return };
    let mut node = machine.node.clone();
    let id = machine.create(1, Resources::default()).await;
    let inspect = InspectRequest { sandbox: id.to_string(), settled: true };
    let inspected = node.inspect(held(inspect.clone())).await.unwrap().into_inner();
    assert_eq!((inspected.broken_limit, inspected.incidents.len()), (None, 0));
    let step = Some(step_id(STEP).to_string());
    let destroy = DestroySandboxRequest { sandbox: id.to_string(), step };
    for _ in 0..2 {
        node.destroy_sandbox(destroy.clone()).await.unwrap();
        assert!(!machine.run_folder(id).exists());
    }
    assert_eq!(node.inspect(held(inspect)).await.unwrap_err().code(), Code::NotFound);
    let kill = KillRequest { sandbox: id.to_string() };
    assert_eq!(node.kill(held(kill)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn limits_are_named_when_they_break() {
    let Some(machine) = Machine::open("limits_are_named_when_they_break").await else { return };
    let limits = Resources { disk_bytes: 1 << 20, ..Resources::default() };
    let id = machine.create(1, limits).await;
    let script = "dd if=/dev/zero of=/tmp/large bs=1M count=64 2>/dev/null";
    let seen = machine.run(id, script, SOON).await;
    assert_eq!(seen.ended.broken_limit.as_deref(), Some("disk_bytes"), "{:?}", seen.ended);
}

#[tokio::test]
async fn what_can_not_be_meant_is_refused_with_the_field() {
    let test = "what_can_not_be_meant_is_refused_with_the_field";
    let Some(machine) = Machine::open(test).await else { return };
    let mut node = machine.node.clone();
    let refused =
        node.kill(held(KillRequest { sandbox: "../../etc".to_owned() })).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`sandbox`"), "{refused}");
    let id = sandbox_id(3).to_string();
    let no_spec = CreateSandboxRequest { id, spec: None, step: None, tier: member() };
    let refused = node.create_sandbox(no_spec).await.unwrap_err();
    assert!(refused.message().contains("`spec`"), "{refused}");
    let missing = SandboxSpec {
        layers: vec![layer_id(77).to_string()],
        limits: Some(Resources::default().into()),
        directory: "/tmp".to_owned(),
        ..SandboxSpec::default()
    };
    let id = sandbox_id(4).to_string();
    let request = CreateSandboxRequest { id, spec: Some(missing), step: None, tier: member() };
    let refused = node.create_sandbox(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    assert!(!machine.run_folder(sandbox_id(4)).exists(), "nothing is left behind");
}

#[tokio::test]
async fn a_sandbox_is_for_its_step_and_for_the_latest_claim_of_it() {
    let test = "a_sandbox_is_for_its_step_and_for_the_latest_claim_of_it";
    let Some(machine) = Machine::open(test).await else { return };
    let mut node = machine.node.clone();
    let id = machine.create(1, Resources::default()).await;
    let kill = || KillRequest { sandbox: id.to_string() };
    node.kill(held(kill())).await.unwrap();
    let refused = node.kill(kill()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "without a token: {refused}");
    let refused = node.kill(held_by(kill(), STEP + 1, 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "of another step: {refused}");
    node.kill(held_by(kill(), STEP, 2)).await.unwrap();
    let refused = node.kill(held(kill())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "of an earlier claim: {refused}");
    let strange = Some(step_id(STEP + 1).to_string());
    let destroy = DestroySandboxRequest { sandbox: id.to_string(), step: strange };
    let refused = node.destroy_sandbox(destroy).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(machine.run_folder(id).exists());
}
