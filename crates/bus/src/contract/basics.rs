//! Publishing, fetching, acknowledging, and starting again.

use std::time::{Duration, Instant};

use super::*;

pub(super) async fn what_is_published_arrives_unchanged(place: &Place) {
    let bus = started(place).await;
    let published = bus.publish(&message(7)).await.expect("publishes");
    assert!(!published.duplicate);
    let delivery = fetch_one(&bus, "workers").await;
    assert_eq!(delivery.message, message(7));
    assert_eq!((delivery.seq, delivery.number), (published.seq, 1));
}

pub(super) async fn what_is_acknowledged_never_comes_again(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..3).await;
    for delivery in fetch(&bus, "workers").await {
        bus.ack(&delivery).await.expect("acknowledges");
        assert_stale(bus.ack(&delivery).await);
    }
    (place.pass)(LEASE * 2).await;
    assert_nothing(&bus, "workers").await;
}

pub(super) async fn a_message_id_is_published_once(place: &Place) {
    let bus = started(place).await;
    let first = bus.publish(&message(0)).await.expect("publishes");
    let second = bus.publish(&message(0)).await.expect("publishes");
    assert!(second.duplicate && second.seq == first.seq, "{second:?}");
    let delivery = fetch_one(&bus, "workers").await;
    bus.ack(&delivery).await.expect("acknowledges");
    let third = bus.publish(&message(0)).await.expect("publishes");
    assert!(third.duplicate, "also after it was acknowledged");
    assert_nothing(&bus, "workers").await;
}

pub(super) async fn a_waiting_fetch_is_woken(place: &Place) {
    let bus = started(place).await;
    let start = Instant::now();
    let waiting = bus.fetch("workers", 1, Duration::from_secs(20));
    let publishing = async {
        tokio::task::yield_now().await;
        bus.publish(&message(0)).await
    };
    let (deliveries, published) = tokio::join!(waiting, publishing);
    published.expect("publishes");
    assert_eq!(ids(&deliveries.expect("fetches")), ["run-0"]);
    assert!(start.elapsed() < Duration::from_secs(10), "it slept through: {:?}", start.elapsed());
}

pub(super) async fn a_restart_loses_nothing(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..4).await;
    let deliveries = fetch(&bus, "workers").await;
    bus.ack(&deliveries[0]).await.expect("acknowledges");
    bus.nak(&deliveries[1], LEASE * 3, "not yet").await.expect("gives back");
    publish(&bus, 4..6).await;
    drop(bus);

    let bus = started(place).await;
    assert_eq!(ids(&fetch(&bus, "workers").await), ["run-4", "run-5"], "the position is kept");
    assert!(bus.publish(&message(0)).await.expect("publishes").duplicate, "ids are kept");
    (place.pass)(LEASE + MOMENT).await;
    let again = fetch(&bus, "workers").await;
    let mut again = ids(&again);
    again.sort_unstable();
    assert_eq!(again, ["run-2", "run-3", "run-4", "run-5"], "leases are kept");
    assert_stale(bus.ack(&deliveries[2]).await);
    (place.pass)(LEASE * 2).await;
    let last = fetch(&bus, "workers").await;
    assert!(ids(&last).contains(&"run-1"), "delays are kept: {last:?}");
    assert!(!ids(&last).contains(&"run-0"), "acknowledgements are kept: {last:?}");
}
