//! What a start finds undone although no event says so.

use std::time::Duration;

use sandgate_wire::pulls::v1::ReportUnplannedRequest;
use serde_json::json;

use crate::runs::{ended, run};
use crate::service::{Place, payload};

#[tokio::test]
async fn a_run_that_nobody_started_is_asked_for_again() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    assert_eq!(service.next_event().await.0, "pr.opened");
    service.stop().await;

    let service = place.start().await;
    let (_, data) = service.next_event().await;
    assert_eq!((&data["trigger"], &data["revision"]), (&json!("sweep"), &json!(1)));
    service.stop().await;
}

#[tokio::test]
async fn a_verdict_that_nobody_told_is_found() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    assert_eq!(service.next_event().await.0, "pr.opened");
    let id = service.get(1).await.id;
    service.stop().await;
    place.runs.put(&ended(&run(1, &id, 1), "success"));

    let service = place.start().await;
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!(pull.checks[0].conclusion.as_deref(), Some("success"));
    assert!(service.events().await.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_run_that_should_be_over_is_cancelled_again() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    service.deliver("2", &payload(1, "closed", 'a', 2)).await;
    for expected in ["pr.opened", "pr.superseded", "pr.closed"] {
        assert_eq!(service.next_event().await.0, expected);
    }
    let id = service.get(1).await.id;
    service.stop().await;
    place.runs.put(&run(1, &id, 1));

    let service = place.start().await;
    let (name, data) = service.next_event().await;
    assert_eq!((name.as_str(), &data["before"]), ("pr.superseded", &json!(2)));
    service.stop().await;
}

#[tokio::test]
async fn one_that_can_not_be_looked_at_keeps_nobody_from_the_others() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    for number in 1..=3 {
        service.deliver(&number.to_string(), &payload(number, "opened", 'a', 1)).await;
        assert_eq!(service.next_event().await.0, "pr.opened");
    }
    let (first, last) = (service.get(1).await.id, service.get(3).await.id);
    service.stop().await;
    place.runs.fail(&first);
    place.runs.put(&ended(&run(3, &last, 1), "success"));

    let service = place.start().await;
    let (_, data) = service.next_event().await;
    assert_eq!((&data["trigger"], &data["number"]), (&json!("sweep"), &json!(2)));
    let pull = service.await_pull(3, |pull| !pull.checks.is_empty()).await;
    assert_eq!(pull.checks[0].conclusion.as_deref(), Some("success"));
    service.stop().await;
}

#[tokio::test]
async fn a_source_that_was_away_is_asked_for_again_when_time_has_passed() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    assert_eq!(service.next_event().await.0, "pr.opened");
    let report = ReportUnplannedRequest {
        pull_request: service.get(1).await.id,
        revision: 1,
        reason: "the folder is gone".to_owned(),
        conflicts: Vec::new(),
        code: "unavailable".to_owned(),
        passing: true,
    };
    service.pulls().report_unplanned(report.clone()).await.unwrap();
    let pull = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    assert_eq!(pull.checks[0].conclusion.as_deref(), Some("failure"));
    let title = pull.checks[0].title.clone();
    assert!(title.starts_with("unavailable: the folder is gone; it is tried again"), "{title}");
    service.stop().await;

    // Put off: not at once, and longer each time.
    for (minutes, expected) in [(0, 0), (14, 0), (2, 1), (29, 0), (2, 1)] {
        place.clock.advance(Duration::from_secs(minutes * 60));
        let service = place.start().await;
        service.stop().await;
        let service = place.open().await;
        assert_eq!(service.events().await.len(), expected, "{minutes} minutes later");
        service.kill().await;
    }

    let service = place.start().await;
    let started = run(1, &pull.id, 1);
    place.runs.put(&started);
    service.tell("started", &started).await;
    service.await_pull(1, |pull| pull.run.is_some()).await;
    // A second try that was still on its way went wrong: the run counts.
    service.pulls().report_unplanned(report).await.unwrap();
    place.runs.put(&ended(&started, "success"));
    service.tell("ended", &ended(&started, "success")).await;
    let is_ended = |pull: &sandgate_wire::pulls::v1::PullRequest| {
        pull.checks[0].conclusion.as_deref() == Some("success")
    };
    let pull = service.await_pull(1, is_ended).await;
    assert!(!pull.checks[0].title.contains("unavailable"), "{}", pull.checks[0].title);
    service.stop().await;
}
