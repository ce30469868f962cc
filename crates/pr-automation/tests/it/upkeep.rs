//! What is removed when its time is over, and what stays.

use std::time::Duration;

use sandgate_domain::TenantId;

use crate::runs::{ended, run};
use crate::service::{NAME, Place, payload, sha};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn deliveries_effects_and_old_checks_go_one_after_the_other() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    let old = ended(&run(1, &service.get(1).await.id, 1), "success");
    place.runs.put(&old);
    service.tell("ended", &old).await;
    service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    service.deliver("2", &payload(1, "synchronize", 'b', 2)).await;
    let new = ended(&run(2, &service.get(1).await.id, 2), "success");
    place.runs.put(&new);
    service.tell("ended", &new).await;
    let shown = service.await_pull(1, |pull| !pull.checks.is_empty()).await;
    service.stop().await;
    let tenant = TenantId::default();
    let target = format!("commit:{NAME}:{}", sha('a'));
    let key = format!("{target}/sandgate/1");

    place.clock.advance(8 * DAY);
    let service = place.start().await;
    until("effects are forgotten", || async {
        service.store.effects(&tenant).get(&key).await.unwrap().is_none()
    })
    .await;
    let again = service.accept("1", "pull_request", &payload(1, "opened", 'a', 1)).await.unwrap();
    assert_eq!(again.outcome, "duplicate", "deliveries are known for longer");
    service.stop().await;

    place.clock.advance(28 * DAY);
    let service = place.start().await;
    until("deliveries are forgotten", || async {
        service.store.inbox(&tenant).list(None, 9).await.unwrap().is_empty()
    })
    .await;
    let postings = service.store.postings(&tenant);
    assert!(!postings.slots(&target).await.unwrap().is_empty());
    // What is sent again after that is a new delivery, and changes nothing.
    service.accept("1", "pull_request", &payload(1, "opened", 'a', 1)).await.unwrap();
    assert_eq!(service.get(1).await.head_sha, sha('b'));
    service.stop().await;

    place.clock.advance(60 * DAY);
    let service = place.start().await;
    let postings = service.store.postings(&tenant);
    until("old checks are removed", || async { postings.slots(&target).await.unwrap().is_empty() })
        .await;
    let pull = service.get(1).await;
    assert_eq!((pull.checks, pull.comment), (shown.checks, shown.comment), "what is shown stays");
    service.stop().await;
}
