//! The inbox: the table of answers to a delivery.

use sandgate_store::{Arrival, InboxAnswer, InboxOutcome};

use crate::fixture::Fixture;

fn arrival(id: &str) -> Arrival {
    Arrival {
        source: "github".to_owned(),
        delivery_id: id.to_owned(),
        body_hash: "blake3:1".to_owned(),
        semantic_key: None,
        repository: None,
        kind: "pull_request".to_owned(),
        body: "{}".to_owned(),
    }
}

#[tokio::test]
async fn a_delivery_is_queued_once_until_it_failed() {
    let fixture = Fixture::new().await;
    let inbox = fixture.store.inbox(&fixture.tenant);
    let now = fixture.now();
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), InboxAnswer::Queued);
    let duplicate = InboxAnswer::Duplicate(InboxOutcome::Queued);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), duplicate);
    let other = Arrival { body_hash: "blake3:2".to_owned(), ..arrival("1") };
    assert_eq!(inbox.accept(&other, now).await.unwrap(), InboxAnswer::OtherBody);
    assert_eq!(inbox.queued(9).await.unwrap(), [arrival("1")]);

    let failed = InboxOutcome::Failed { reason: "no such commit".to_owned() };
    assert!(inbox.settle("github", "1", &failed, now).await.unwrap());
    assert!(!inbox.settle("github", "1", &InboxOutcome::Succeeded, now).await.unwrap());
    assert_eq!(inbox.accept(&other, now).await.unwrap(), InboxAnswer::OtherBody);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), InboxAnswer::Queued);
    assert!(inbox.settle("github", "1", &InboxOutcome::Succeeded, now).await.unwrap());
    let done = InboxAnswer::Duplicate(InboxOutcome::Succeeded);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), done);
    assert!(inbox.queued(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_same_meaning_under_another_id_is_told() {
    let fixture = Fixture::new().await;
    let inbox = fixture.store.inbox(&fixture.tenant);
    let now = fixture.now();
    let meaning = Some("app 7 abc synchronize".to_owned());
    let first = Arrival { semantic_key: meaning.clone(), ..arrival("1") };
    let second = Arrival { semantic_key: meaning, ..arrival("2") };
    assert_eq!(inbox.accept(&first, now).await.unwrap(), InboxAnswer::Queued);
    let same = InboxAnswer::SameMeaning { delivery_id: "1".to_owned() };
    assert_eq!(inbox.accept(&second, now).await.unwrap(), same);
    let failed = InboxOutcome::Failed { reason: "x".to_owned() };
    inbox.settle("github", "1", &failed, now).await.unwrap();
    assert_eq!(inbox.accept(&second, now).await.unwrap(), InboxAnswer::Queued);
}

#[tokio::test]
async fn what_was_ignored_is_looked_at_again() {
    let fixture = Fixture::new().await;
    let inbox = fixture.store.inbox(&fixture.tenant);
    let now = fixture.now();
    let ignored = InboxOutcome::Ignored { reason: "not known".to_owned() };
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), InboxAnswer::Queued);
    inbox.settle("github", "1", &ignored, now).await.unwrap();
    assert_eq!(inbox.accept(&arrival("2"), now).await.unwrap(), InboxAnswer::Queued);
    let listed = inbox.list(None, 9).await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|row| row.delivery_id.as_str()).collect();
    assert_eq!((ids, &listed[1].outcome), (vec!["2", "1"], &ignored));
    assert_eq!(inbox.list(Some(listed[0].position), 9).await.unwrap(), listed[1..]);
    assert_eq!(inbox.get("github", "1").await.unwrap(), Some(arrival("1")));
    assert_eq!(inbox.get("gitlab", "1").await.unwrap(), None);
    assert_eq!(inbox.get("github", "3").await.unwrap(), None);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), InboxAnswer::Queued);
}

#[tokio::test]
async fn bodies_go_before_the_deliveries_and_what_is_queued_stays() {
    let fixture = Fixture::new().await;
    let inbox = fixture.store.inbox(&fixture.tenant);
    let now = fixture.now();
    for id in ["1", "2", "3"] {
        inbox.accept(&arrival(id), now).await.unwrap();
    }
    for id in ["1", "2"] {
        inbox.settle("github", id, &InboxOutcome::Succeeded, now).await.unwrap();
    }
    let later = now.plus(std::time::Duration::from_secs(1));
    assert_eq!(inbox.drop_bodies(now, 9).await.unwrap(), 0, "not yet");
    assert_eq!(inbox.drop_bodies(later, 1).await.unwrap(), 1, "bounded");
    assert_eq!(inbox.drop_bodies(later, 9).await.unwrap(), 1);
    assert_eq!(inbox.drop_bodies(later, 9).await.unwrap(), 0);
    let done = InboxAnswer::Duplicate(InboxOutcome::Succeeded);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), done, "still known");
    let other = Arrival { body_hash: "blake3:2".to_owned(), ..arrival("1") };
    assert_eq!(inbox.accept(&other, now).await.unwrap(), InboxAnswer::OtherBody);
    assert_eq!(inbox.queued(9).await.unwrap(), [arrival("3")], "with its body");
    assert_eq!(inbox.forget(later, 9).await.unwrap(), 2);
    assert_eq!(inbox.accept(&arrival("1"), now).await.unwrap(), InboxAnswer::Queued);
}
