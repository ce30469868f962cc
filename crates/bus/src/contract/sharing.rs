//! Who gets what: fan-out over subscriptions, sharing inside one.

use std::collections::BTreeSet;

use super::*;

pub(super) async fn every_subscription_gets_its_own_copy(place: &Place) {
    let bus = started(place).await;
    bus.subscribe(&subscription("others")).await.expect("subscribes");
    publish(&bus, 0..5).await;
    for name in ["workers", "others"] {
        let deliveries = fetch(&bus, name).await;
        assert_eq!(ids(&deliveries), ["run-0", "run-1", "run-2", "run-3", "run-4"], "{name}");
    }
    let again = bus.fetch("nobody", 1, Duration::ZERO).await;
    assert!(again.is_err() || again.is_ok_and(|none| none.is_empty()), "unknown gets nothing");
}

pub(super) async fn filters_choose(place: &Place) {
    let bus = (place.start)().await;
    let filters = [
        ("one", vec!["sandgate.v1.run.ended.default"]),
        ("entity", vec!["sandgate.v1.gate.*.*"]),
        ("both", vec!["sandgate.v1.run.*.*", "sandgate.v1.gate.>"]),
        ("none", vec!["sandgate.v1.run.started.*"]),
    ];
    for (name, filters) in filters {
        let filters = filters.into_iter().map(str::to_owned).collect();
        let wanted = Subscription { filters, ..subscription(name) };
        bus.subscribe(&wanted).await.expect("subscribes");
    }
    for (entity, number) in [("run", 0), ("gate", 1), ("snapshot", 2), ("run", 3)] {
        bus.publish(&about(entity, number)).await.expect("publishes");
    }
    assert_eq!(ids(&fetch(&bus, "one").await), ["run-0", "run-3"]);
    assert_eq!(ids(&fetch(&bus, "entity").await), ["gate-1"]);
    assert_eq!(ids(&fetch(&bus, "both").await), ["run-0", "gate-1", "run-3"]);
    assert_nothing(&bus, "none").await;
}

pub(super) async fn workers_share_a_subscription(place: &Place) {
    const MESSAGES: u32 = 200;
    let bus = started(place).await;
    publish(&bus, 0..MESSAGES).await;
    let worker = || async {
        let mut mine = Vec::new();
        loop {
            let deliveries = bus.fetch("workers", 7, Duration::ZERO).await.expect("fetches");
            if deliveries.is_empty() {
                return mine;
            }
            for delivery in deliveries {
                bus.ack(&delivery).await.expect("acknowledges");
                mine.push(delivery.message.id);
            }
        }
    };
    let (a, b, c, d) = tokio::join!(worker(), worker(), worker(), worker());
    let all: Vec<String> = [a, b, c, d].concat();
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (MESSAGES as usize, MESSAGES as usize));
}

pub(super) async fn a_slow_subscription_stops_nobody_and_loses_nothing(place: &Place) {
    let bus = started(place).await;
    bus.subscribe(&subscription("slow")).await.expect("subscribes");
    for round in 0..10 {
        publish(&bus, round * 10..round * 10 + 10).await;
        for delivery in fetch(&bus, "workers").await {
            bus.ack(&delivery).await.expect("acknowledges");
        }
        if round == 0 {
            let first = bus.fetch("slow", 1, Duration::ZERO).await.expect("fetches");
            assert_eq!(ids(&first), ["run-0"]);
            bus.ack(&first[0]).await.expect("acknowledges");
        }
    }
    assert_nothing(&bus, "workers").await;
    let late = fetch(&bus, "slow").await;
    assert_eq!(late.len(), 99);
    assert!(late.iter().all(|delivery| delivery.number == 1));
}

pub(super) async fn new_settings_keep_the_position(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..2).await;
    for delivery in fetch(&bus, "workers").await {
        bus.ack(&delivery).await.expect("acknowledges");
    }
    let stricter = Subscription { max_deliveries: 1, ..subscription("workers") };
    bus.subscribe(&stricter).await.expect("subscribes");
    publish(&bus, 2..3).await;
    let delivery = fetch_one(&bus, "workers").await;
    assert_eq!(delivery.message.id, "run-2");
    bus.nak(&delivery, Duration::ZERO, "once is enough").await.expect("gives back");
    assert_nothing(&bus, "workers").await;
    assert_eq!(bus.dead_letters("workers", 9).await.expect("lists").len(), 1);
}

pub(super) async fn impossible_subscriptions_are_refused(place: &Place) {
    let bus = (place.start)().await;
    let never = Subscription { max_deliveries: 0, ..subscription("never") };
    let hasty = Subscription { lease: Duration::ZERO, ..subscription("hasty") };
    for impossible in [never, hasty] {
        let refused = bus.subscribe(&impossible).await;
        assert!(matches!(refused, Err(crate::Error::Subscription { .. })), "{refused:?}");
    }
}
