//! The embedded bus keeps the promises of a bus, and shares commits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandgate_bus::contract::{Place, contract};
use sandgate_bus::{Bus, EmbeddedBus, Error, Message, Subscription};
use sandgate_domain::TenantId;
use sandgate_store::Store;
use sandgate_testkit::MockClock;

async fn start(path: PathBuf, clock: MockClock) -> EmbeddedBus {
    let store = Store::open(&path, &clock).await.unwrap();
    EmbeddedBus::start(&store, Arc::new(clock))
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let clock = MockClock::default();
    let moved = clock.clone();
    Place {
        start: Box::new(move || {
            let (path, clock) = (folder.path().join("state.db"), clock.clone());
            Box::pin(async move { Arc::new(start(path, clock).await) as Arc<dyn Bus> })
        }),
        pass: Box::new(move |time| {
            moved.advance(time);
            Box::pin(std::future::ready(()))
        }),
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    contract(place).await;
}

fn message(number: u32) -> Message {
    Message {
        tenant: TenantId::default(),
        subject: "sandgate.v1.run.ended.default".to_owned(),
        id: format!("m-{number}"),
        headers: BTreeMap::new(),
        body: "{}".to_owned(),
    }
}

fn subscription() -> Subscription {
    Subscription {
        name: "workers".to_owned(),
        filters: vec!["sandgate.v1.>".to_owned()],
        lease: Duration::from_secs(30),
        max_deliveries: 3,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_share_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let clock = MockClock::default();
    let one = start(folder.path().join("state.db"), clock.clone()).await;
    let two = start(folder.path().join("state.db"), clock).await;
    one.subscribe(&subscription()).await.unwrap();
    let publishers: Vec<_> = (0..100)
        .map(|number| {
            let bus = if number % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move { bus.publish(&message(number)).await.unwrap().seq })
        })
        .collect();
    let mut places = Vec::new();
    for publisher in publishers {
        places.push(publisher.await.unwrap());
    }
    places.sort_unstable();
    assert_eq!(places, (1..=100).collect::<Vec<u64>>(), "one order without gaps");
    let mine = one.fetch("workers", 60, Duration::ZERO).await.unwrap();
    let theirs = two.fetch("workers", 60, Duration::ZERO).await.unwrap();
    assert_eq!((mine.len(), theirs.len()), (60, 40));
    two.ack(&theirs[0]).await.unwrap();
}

#[tokio::test]
async fn a_bad_message_does_not_fail_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let bus = start(folder.path().join("state.db"), MockClock::default()).await;
    let large = Message { body: "x".repeat(5 << 20), ..message(1) };
    let (zero, two) = (message(0), message(2));
    let (first, refused, second) =
        tokio::join!(bus.publish(&zero), bus.publish(&large), bus.publish(&two));
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    assert_eq!((first.unwrap().seq, second.unwrap().seq), (1, 2));
}

#[tokio::test]
async fn old_messages_go_and_numbers_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let clock = MockClock::default();
    let bus = start(folder.path().join("state.db"), clock.clone()).await;
    bus.subscribe(&subscription()).await.unwrap();
    bus.publish(&message(0)).await.unwrap();
    bus.publish(&message(1)).await.unwrap();
    let held = bus.fetch("workers", 1, Duration::ZERO).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    let minute = Duration::from_secs(60);
    assert_eq!(bus.prune(minute, minute).await.unwrap(), 1, "what is in hands stays");
    assert_eq!(bus.publish(&message(2)).await.unwrap().seq, 3);
    let again = bus.fetch("workers", 9, Duration::ZERO).await.unwrap();
    let found: Vec<_> = again.iter().map(|delivery| delivery.seq).collect();
    assert_eq!(found, [held[0].seq, 3]);
}

#[tokio::test]
async fn dead_letters_go_when_their_time_is_over_and_a_lot_goes_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let clock = MockClock::default();
    let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
    let bus = EmbeddedBus::start(&store, Arc::new(clock.clone()));
    bus.subscribe(&subscription()).await.unwrap();
    let publishing = (0..1200).map(|number| {
        let bus = bus.clone();
        async move { bus.publish(&message(number)).await.unwrap() }
    });
    futures_util::future::join_all(publishing).await;
    for delivery in bus.fetch("workers", 2, Duration::ZERO).await.unwrap() {
        bus.terminate(&delivery, "no").await.unwrap();
    }
    let (day, month) = (Duration::from_secs(86_400), Duration::from_secs(30 * 86_400));
    clock.advance(day * 2);
    assert_eq!(bus.prune(day, month).await.unwrap(), 1200);
    assert_eq!(bus.dead_letters("workers", 9).await.unwrap().len(), 2);
    clock.advance(month);
    assert_eq!(bus.prune(day, month).await.unwrap(), 2);
    assert!(bus.dead_letters("workers", 9).await.unwrap().is_empty());
}
