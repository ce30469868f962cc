//! What a start finds undone although no event says so.

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
