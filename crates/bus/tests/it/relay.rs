//! From a transaction through the outbox to a consumer that acts once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_bus::{Bus, EmbeddedBus, Message, Relay, Subscription, subjects};
use sandgate_domain::{Clock, Event, EventId, EventType, TenantId};
use sandgate_store::Store;
use sandgate_testkit::{CountingIds, MockClock};
use tokio_util::sync::CancellationToken;

struct Fixture {
    _folder: tempfile::TempDir,
    clock: MockClock,
    ids: CountingIds,
    store: Store,
    bus: Arc<EmbeddedBus>,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let clock = MockClock::default();
    let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
    let bus = Arc::new(EmbeddedBus::start(&store, Arc::new(clock.clone())));
    bus.subscribe(&Subscription {
        name: "agent".to_owned(),
        filters: vec![subjects::entity("pr")],
        lease: Duration::from_secs(30),
        max_deliveries: 5,
    })
    .await
    .unwrap();
    Fixture { _folder: folder, clock, ids: CountingIds::default(), store, bus }
}

impl Fixture {
    fn event(&self) -> Event {
        Event::new(
            EventId::new(&self.ids),
            "sandgate/pr-automation",
            EventType::new("pr", "opened", 1).unwrap(),
            "7",
            self.clock.now(),
            TenantId::default(),
            serde_json::json!({"number": 7}),
        )
    }

    fn relay(&self) -> Relay {
        let bus: Arc<dyn Bus> = Arc::clone(&self.bus) as Arc<dyn Bus>;
        Relay::new(self.store.outbox("pr-automation"), bus, Arc::new(self.clock.clone()))
    }

    async fn push(&self, event: &Event) {
        let transaction = self.store.begin().await.unwrap();
        let outgoing = Message::outgoing(event, BTreeMap::new()).unwrap();
        transaction.outbox("pr-automation").push(&outgoing, self.clock.now()).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_committed_is_published_once_and_in_order() {
    let fixture = fixture().await;
    let events = [fixture.event(), fixture.event(), fixture.event()];
    for event in &events {
        fixture.push(event).await;
    }
    let relay = fixture.relay();
    assert_eq!(relay.drain().await.unwrap(), 3);
    assert_eq!(relay.drain().await.unwrap(), 0);
    let deliveries = fixture.bus.fetch("agent", 9, Duration::ZERO).await.unwrap();
    let found: Vec<Event> =
        deliveries.iter().map(|delivery| delivery.message.event().unwrap()).collect();
    assert_eq!(found, events);
    assert_eq!(deliveries[0].message.subject, "sandgate.v1.pr.opened.default");
}

#[tokio::test]
async fn what_is_not_committed_is_not_published() {
    let fixture = fixture().await;
    let transaction = fixture.store.begin().await.unwrap();
    let outgoing = Message::outgoing(&fixture.event(), BTreeMap::new()).unwrap();
    transaction.outbox("pr-automation").push(&outgoing, fixture.clock.now()).await.unwrap();
    drop(transaction);
    assert_eq!(fixture.relay().drain().await.unwrap(), 0);
}

#[tokio::test]
async fn a_relay_killed_before_its_mark_publishes_again_without_a_copy() {
    let fixture = fixture().await;
    let event = fixture.event();
    fixture.push(&event).await;
    let outgoing = Message::outgoing(&event, BTreeMap::new()).unwrap();
    fixture.bus.publish(&Message::from(outgoing)).await.unwrap();
    assert_eq!(fixture.relay().drain().await.unwrap(), 1);
    assert_eq!(fixture.bus.fetch("agent", 9, Duration::ZERO).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_consumer_acts_once_though_the_event_comes_again() {
    let fixture = fixture().await;
    let event = fixture.event();
    fixture.push(&event).await;
    fixture.relay().drain().await.unwrap();
    let mut acted = 0;
    for commits in [false, true, true] {
        let deliveries = fixture.bus.fetch("agent", 9, Duration::ZERO).await.unwrap();
        let event = deliveries[0].message.event().unwrap();
        let transaction = fixture.store.begin().await.unwrap();
        let seen = transaction.seen("agent");
        let id = event.id.to_string();
        if seen.first_time(&event.tenant, &id, fixture.clock.now()).await.unwrap() && commits {
            acted += 1;
        }
        // A crash before the commit forgets both; one before the acknowledgement delivers again.
        if commits {
            transaction.commit().await.unwrap();
        }
        fixture.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(acted, 1);
}

#[tokio::test]
async fn the_running_relay_is_woken_and_drains_at_its_end() {
    let fixture = fixture().await;
    let relay = fixture.relay();
    let (wake, stop) = (relay.wake(), CancellationToken::new());
    let running = tokio::spawn(relay.run(stop.clone()));
    fixture.push(&fixture.event()).await;
    wake.notify_one();
    let wait = Duration::from_secs(20);
    assert_eq!(fixture.bus.fetch("agent", 1, wait).await.unwrap().len(), 1);
    fixture.push(&fixture.event()).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(fixture.bus.fetch("agent", 1, Duration::ZERO).await.unwrap().len(), 1);
}
