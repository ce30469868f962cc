//! The contract of a node whose sandboxes are plain processes: whom they are for, and where their files are. It is tried
//! where no namespace can be had.

use std::collections::HashMap;

use sandgate_domain::{IsolationLevel, Resources, TrustTier};
use sandgate_wire::node::v1::exec_event::Event;
use sandgate_wire::node::v1::source::From;
use sandgate_wire::node::v1::{
    CreateSandboxRequest, DescribeRequest, DestroySandboxRequest, ExecRequest, ReadSourceRequest,
    RepositorySource, SandboxSpec, Source,
};
use tonic::Code;

use crate::contract::{Machine, STEP, held, step_id};
use crate::support::{Fixture, sandbox_id};

#[test]
fn it_holds_where_namespaces_are_refused() {
    let program = std::env::current_exe().unwrap();
    let mut command = sandgate_testkit::without_namespaces(None, &program);
    let said = command.args(["--nocapture", "process_level::plain"]).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("at the process level"), "positive control: {stdout}{stderr}");
}

/// None where there are namespaces.
async fn plain() -> Option<Machine> {
    let machine = Machine::open_at(IsolationLevel::Process).await;
    let facts = machine.node.clone().describe(DescribeRequest {}).await.unwrap().into_inner();
    if facts.isolation == "namespaces" {
        println!("here are namespaces; another test runs this where there are none");
        return None;
    }
    assert_eq!(facts.isolation, "process");
    assert!(facts.base_fingerprint.starts_with("process-"), "{}", facts.base_fingerprint);
    println!("at the process level");
    Some(machine)
}

fn wanted(number: u128, tier: TrustTier) -> CreateSandboxRequest {
    let spec = SandboxSpec {
        limits: Some(Resources::default().into()),
        directory: "/workspace".to_owned(),
        ..SandboxSpec::default()
    };
    CreateSandboxRequest {
        id: sandbox_id(number).to_string(),
        spec: Some(spec),
        step: Some(step_id(STEP).to_string()),
        tier: tier.to_string(),
    }
}

#[tokio::test]
async fn plain_sandboxes_are_refused_to_strangers() {
    let Some(machine) = plain().await else { return };
    let mut node = machine.node.clone();
    for tier in [TrustTier::Agent, TrustTier::Fork] {
        let refused = node.create_sandbox(wanted(1, tier)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains("process level"), "{refused}");
        assert!(!machine.run_folder(sandbox_id(1)).exists(), "nothing is left behind");
    }
    let untold = CreateSandboxRequest { tier: String::new(), ..wanted(1, TrustTier::Member) };
    let refused = node.create_sandbox(untold).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("`tier`"), "{refused}");
}

#[tokio::test]
async fn plain_sources_are_refused_to_strangers_and_have_keys_of_their_own() {
    let Some(machine) = plain().await else { return };
    let fixture = Fixture::new();
    let sha = fixture.commit("start");
    let request = |tier: TrustTier| ReadSourceRequest {
        source: Some(Source {
            from: Some(From::Repository(RepositorySource {
                folder: fixture.repo().display().to_string(),
                sha: sha.clone(),
                base_sha: None,
                branch: None,
            })),
            setup: None,
            tier: tier.to_string(),
        }),
    };
    let mut node = machine.node.clone();
    for tier in [TrustTier::Agent, TrustTier::Fork] {
        let refused = node.read_source(request(tier)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let read = node.read_source(request(TrustTier::Member)).await.unwrap().into_inner();
    assert!(read.source_key.starts_with("process:"), "{}", read.source_key);
}

#[tokio::test]
async fn plain_commands_take_the_names_of_sandboxes_and_callers_learn_the_places() {
    let Some(machine) = plain().await else { return };
    let mut node = machine.node.clone();
    let made = node.create_sandbox(wanted(1, TrustTier::Member)).await.unwrap().into_inner();
    let names = made.environment.get("SANDGATE_WORKSPACE").map(String::as_str);
    assert_eq!(names, Some("/workspace"));
    let workspace = made.places["/workspace"].clone();
    assert!(workspace.starts_with(machine.folder.path().to_str().unwrap()), "{workspace}");
    let command = ["/bin/sh", "-c", "pwd; echo $SANDGATE_WORKSPACE"].map(str::to_owned).to_vec();
    let request = ExecRequest {
        sandbox: sandbox_id(1).to_string(),
        command,
        directory: "/workspace".to_owned(),
        environment: HashMap::from_iter(made.environment),
        timeout_ms: 60_000,
    };
    let mut events = node.exec(held(request)).await.unwrap().into_inner();
    let mut said = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Output(output)) = event.event {
            said.extend(output.data);
        }
    }
    assert_eq!(String::from_utf8(said).unwrap(), format!("{workspace}\n{workspace}\n"));
    let step = Some(step_id(STEP).to_string());
    let destroy = DestroySandboxRequest { sandbox: sandbox_id(1).to_string(), step };
    node.destroy_sandbox(destroy).await.unwrap();
    assert!(!machine.run_folder(sandbox_id(1)).exists());
    assert!(!std::path::Path::new(&workspace).exists());
}
