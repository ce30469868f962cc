//! Transactions over several repositories: all or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use sandgate_domain::{Completion, EventId, GateResult, StepState};
use sandgate_store::{Error, OutboxMessage};

use crate::fixture::{Fixture, LEASE};

fn outgoing(fixture: &Fixture) -> OutboxMessage {
    OutboxMessage {
        event_id: EventId::new(&fixture.ids),
        tenant: fixture.tenant.clone(),
        subject: "a.b".to_owned(),
        headers: BTreeMap::new(),
        body: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_result_and_its_event_are_committed_together() {
    let fixture = Fixture::new().await;
    let (_, steps) = fixture.planned(1).await;
    let id = steps[0].id;
    let now = fixture.now();
    for commits in [false, true] {
        let transaction = fixture.store.begin().await.unwrap();
        let inside = transaction.steps(&fixture.tenant);
        let claim = inside.claim(id, "me", now, LEASE).await.unwrap().unwrap();
        let done = Completion::of(GateResult::Success);
        inside.complete(id, claim.fence, &done, now).await.unwrap();
        transaction.outbox("agent").push(&outgoing(&fixture), now).await.unwrap();
        assert!(matches!(inside.get(id).await.unwrap().unwrap().state, StepState::Ended { .. }));
        let outside = fixture.store.steps(&fixture.tenant).get(id).await.unwrap().unwrap();
        assert_eq!(outside.state, StepState::Ready, "others see nothing before the commit");
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    let step = fixture.store.steps(&fixture.tenant).get(id).await.unwrap().unwrap();
    assert_eq!(step.attempts, 1, "what was dropped left nothing");
    assert_eq!(fixture.store.outbox("agent").unpublished(9).await.unwrap().len(), 1);
    assert!(fixture.store.outbox("other").unpublished(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_part_breaks_the_whole() {
    let fixture = Fixture::new().await;
    let (run, _) = fixture.planned(1).await;
    let transaction = fixture.store.begin().await.unwrap();
    transaction.outbox("agent").push(&outgoing(&fixture), fixture.now()).await.unwrap();
    let again = transaction.runs(&fixture.tenant).create(&run, &[]).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let refused = transaction.commit().await;
    assert!(matches!(refused, Err(Error::TransactionEnded { .. })), "{refused:?}");
    assert!(fixture.store.outbox("agent").unpublished(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stale_fence_leaves_the_transaction_whole() {
    let fixture = Fixture::new().await;
    let (_, steps) = fixture.planned(1).await;
    let transaction = fixture.store.begin().await.unwrap();
    let stale = transaction
        .steps(&fixture.tenant)
        .complete(steps[0].id, 9, &Completion::of(GateResult::Success), fixture.now())
        .await;
    assert!(matches!(stale, Err(Error::StaleFence { fence: 9, .. })), "{stale:?}");
    let seen = transaction.seen("agent");
    assert!(seen.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
    transaction.commit().await.unwrap();
    let seen = fixture.store.seen("agent");
    assert!(!seen.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
}

#[tokio::test]
async fn a_repository_outlives_its_transaction_as_an_error() {
    let fixture = Fixture::new().await;
    let transaction = fixture.store.begin().await.unwrap();
    let runs = transaction.runs(&fixture.tenant);
    transaction.commit().await.unwrap();
    let late = runs.create(&fixture.run(), &[]).await;
    assert!(matches!(late, Err(Error::TransactionEnded { .. })), "{late:?}");
    fixture.planned(1).await;
}

#[tokio::test]
async fn consumed_events_are_noted_for_each_subscription_and_forgotten_by_age() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.store.seen("one"), fixture.store.seen("two"));
    assert!(one.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
    assert!(two.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(one.forget(Duration::from_secs(60), fixture.now()).await.unwrap(), 0);
    assert_eq!(one.forget(Duration::from_secs(59), fixture.now()).await.unwrap(), 1);
    assert!(one.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
    assert!(!two.first_time(&fixture.tenant, "e", fixture.now()).await.unwrap());
}

#[tokio::test]
async fn what_the_bus_lost_is_published_again() {
    let fixture = Fixture::new().await;
    let outbox = fixture.store.outbox("agent");
    let old = outgoing(&fixture);
    outbox.push(&old, fixture.now()).await.unwrap();
    fixture.clock.advance(Duration::from_secs(60));
    let young = outgoing(&fixture);
    outbox.push(&young, fixture.now()).await.unwrap();
    outbox.mark_published(&[old, young.clone()], fixture.now()).await.unwrap();
    assert!(outbox.unpublished(9).await.unwrap().is_empty());
    assert_eq!(outbox.republish(fixture.now()).await.unwrap(), 1);
    assert_eq!(outbox.unpublished(9).await.unwrap(), [young]);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(outbox.prune(fixture.now(), 9).await.unwrap(), 1);
}

#[tokio::test]
async fn where_nobody_publishes_old_events_are_dropped() {
    let fixture = Fixture::new().await;
    let outbox = fixture.store.outbox("agent");
    let start = fixture.now();
    for _ in 0..3 {
        outbox.push(&outgoing(&fixture), fixture.now()).await.unwrap();
    }
    fixture.clock.advance(Duration::from_secs(60));
    let young = outgoing(&fixture);
    outbox.push(&young, fixture.now()).await.unwrap();
    fixture.store.outbox("other").push(&outgoing(&fixture), start).await.unwrap();
    assert_eq!(outbox.drop_unpublished(fixture.now(), 2).await.unwrap(), 2, "bounded");
    assert_eq!(outbox.drop_unpublished(fixture.now(), 2).await.unwrap(), 1);
    assert_eq!(outbox.unpublished(9).await.unwrap(), [young]);
    assert_eq!(fixture.store.outbox("other").unpublished(9).await.unwrap().len(), 1);
}
