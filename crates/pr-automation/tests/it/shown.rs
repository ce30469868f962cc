//! What is shown under a pull request: once, only of the present revision, and for a fork nothing before an approval.

use sandgate_domain::ErrorCode;
use sandgate_wire::error_code;
use sandgate_wire::pulls::v1::{ApproveRequest, PullRequest, ReportUnplannedRequest};
use serde_json::json;

use crate::runs::{ended, run};
use crate::service::{NAME, Place, Service, fork, payload, sha};

fn conclusion(pull: &PullRequest, name: &str) -> Option<String> {
    pull.checks.iter().find(|check| check.name == name)?.conclusion.clone()
}

fn owned(versions: &[(&str, u64)]) -> Vec<(String, u64)> {
    versions.iter().map(|(slot, version)| ((*slot).to_owned(), *version)).collect()
}

async fn approve(service: &Service, head: char) -> Result<PullRequest, tonic::Status> {
    let request = ApproveRequest {
        repository: NAME.to_owned(),
        number: 1,
        sha: sha(head),
        approver: "alice".to_owned(),
    };
    service.pulls().approve(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_run_is_shown_while_it_goes_on_and_once_when_it_failed() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    let id = service.get(1).await.id;

    let running = run(1, &id, 1);
    place.runs.put(&running);
    service.tell("started", &running).await;
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!((pull.checks.len(), pull.checks[0].status.as_str()), (1, "in_progress"));
    assert_eq!(pull.run, Some(running.id.clone()));

    let failed = ended(&running, "failure");
    place.runs.put(&failed);
    service.tell("ended", &failed).await;
    let is_failure = |pull: &PullRequest| conclusion(pull, "sandgate").is_some();
    let pull = service.await_pull(1, is_failure).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("failure"));
    assert_eq!(conclusion(&pull, "sandgate / unit").as_deref(), Some("failure"));
    let comment = pull.comment.clone().unwrap();
    for part in ["unit", "adds", "src/add.rs:7", "sandgate debug unit --run run_"] {
        assert!(comment.contains(part), "{part}: {comment}");
    }
    let once = owned(&[("sandgate", 2), ("sandgate", 2), ("sandgate / unit", 1)]);
    assert_eq!(service.versions(&pull).await, once);

    // The same news again, in another event; a later change of another pull request shows that it was consumed.
    service.tell("ended", &failed).await;
    service.deliver("2", &payload(2, "opened", 'b', 1)).await;
    let other = run(2, &service.get(2).await.id, 1);
    place.runs.put(&other);
    service.tell("started", &other).await;
    service.await_pull(2, |pull| pull.comment.is_some()).await;
    assert_eq!(service.versions(&pull).await, once);

    // A rerun that passes takes the place of the failure, in the gate's check too.
    let passed = ended(&run(3, &id, 1), "success");
    place.runs.put(&passed);
    service.tell("ended", &passed).await;
    let is_success =
        |pull: &PullRequest| conclusion(pull, "sandgate / unit").as_deref() == Some("success");
    let pull = service.await_pull(1, is_success).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("success"));
    service.stop().await;
}

#[tokio::test]
async fn a_run_of_an_older_revision_writes_nothing() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    service.deliver("2", &payload(1, "synchronize", 'b', 2)).await;
    let names: Vec<String> =
        [service.next_event().await, service.next_event().await, service.next_event().await]
            .map(|event| event.0)
            .into();
    assert_eq!(names, ["pr.opened", "pr.superseded", "pr.synchronize"]);
    let id = service.get(1).await.id;

    let older = ended(&run(1, &id, 1), "failure");
    let newer = ended(&run(2, &id, 2), "success");
    for run in [&older, &newer, &older] {
        place.runs.put(run);
        service.tell("ended", run).await;
    }
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("success"));
    assert_eq!(pull.run, Some(newer.id));
    let tenant = sandgate_domain::TenantId::default();
    let target = format!("commit:{NAME}:{}", sha('a'));
    assert!(service.store.postings(&tenant).slots(&target).await.unwrap().is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_check_under_way_is_cancelled_when_its_head_is_left() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    let left = run(1, &service.get(1).await.id, 1);
    place.runs.put(&left);
    service.tell("started", &left).await;
    let before = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    service.deliver("2", &payload(1, "synchronize", 'b', 2)).await;
    // Back to the first head: what its check says now can be seen.
    service.deliver("3", &payload(1, "synchronize", 'a', 3)).await;
    let is_ended = |pull: &PullRequest| conclusion(pull, "sandgate").is_some();
    let pull = service.await_pull(1, is_ended).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("cancelled"));
    assert_eq!((pull.head_sha, pull.run), (before.head_sha, None));
    service.stop().await;
}

#[tokio::test]
async fn a_fork_waits_for_the_approval_of_exactly_its_head() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &fork(payload(1, "opened", 'a', 1))).await;
    let (name, data) = service.next_event().await;
    assert_eq!(
        (name.as_str(), &data["held"], &data["tier"]),
        ("pr.opened", &json!(true), &json!("fork"))
    );
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("action_required"));
    assert!(pull.held && pull.comment.unwrap().contains("sandgate pr approve 1 --sha"));

    let refused = approve(&service, 'b').await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::Conflict);
    assert!(refused.message().contains(&sha('a')), "{}", refused.message());
    assert!(service.get(1).await.held);

    assert!(!approve(&service, 'a').await.unwrap().held);
    let (name, data) = service.next_event().await;
    assert_eq!((name.as_str(), &data["held"]), ("pr.approved", &json!(false)));
    assert_eq!(data["trigger"], json!("approval"));
    approve(&service, 'a').await.unwrap();

    service.deliver("2", &fork(payload(1, "synchronize", 'b', 2))).await;
    assert!(service.get(1).await.held);
    let names = [service.next_event().await.0, service.next_event().await.0];
    assert_eq!(names, ["pr.superseded", "pr.synchronize"]);
    service.stop().await;
}

#[tokio::test]
async fn a_revision_without_a_run_says_why() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    let id = service.get(1).await.id;
    let report = |revision, conflicts: &[&str]| ReportUnplannedRequest {
        pull_request: id.clone(),
        revision,
        reason: "it conflicts with the base".to_owned(),
        conflicts: conflicts.iter().map(|path| (*path).to_owned()).collect(),
        code: "conflict".to_owned(),
        passing: false,
    };
    service.pulls().report_unplanned(report(2, &["src/old.rs"])).await.unwrap();
    service.pulls().report_unplanned(report(1, &["src/add.rs"])).await.unwrap();
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!(conclusion(&pull, "sandgate").as_deref(), Some("failure"));
    let comment = pull.comment.unwrap();
    assert!(comment.contains("src/add.rs") && !comment.contains("src/old.rs"), "{comment}");
    service.stop().await;
}

#[tokio::test]
async fn killed_between_intent_and_writing_it_is_written_once_at_the_next_start() {
    let place = Place::new();
    let service = place.open().await;
    place.repository(&service).await;
    service.deliver("1", &fork(payload(1, "opened", 'a', 1))).await;
    assert!(service.get(1).await.checks.is_empty());
    service.kill().await;
    for _ in 0..2 {
        let service = place.start().await;
        let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
        let once = owned(&[("sandgate", 1), ("sandgate", 1)]);
        assert_eq!(service.versions(&pull).await, once);
        service.stop().await;
    }
}
