//! How a delivery ends: leases, delays, dead letters.

use super::*;

pub(super) async fn an_expired_lease_hands_the_message_on(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    let slow = fetch_one(&bus, "workers").await;
    (place.pass)(LEASE - MOMENT * 10).await;
    assert_nothing(&bus, "workers").await;
    (place.pass)(MOMENT * 20).await;
    let quick = fetch_one(&bus, "workers").await;
    assert_eq!((quick.message.id.as_str(), quick.number), ("run-0", 2));
    assert_stale(bus.ack(&slow).await);
    assert_stale(bus.nak(&slow, Duration::ZERO, "too late").await);
    assert_stale(bus.extend(&slow).await);
    assert_stale(bus.terminate(&slow, "too late").await);
    bus.ack(&quick).await.expect("the holder acknowledges");
}

pub(super) async fn an_extended_lease_holds(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    let delivery = fetch_one(&bus, "workers").await;
    for _ in 0..4 {
        (place.pass)(LEASE * 2 / 3).await;
        bus.extend(&delivery).await.expect("extends");
        assert_nothing(&bus, "workers").await;
    }
    bus.ack(&delivery).await.expect("acknowledges");
}

pub(super) async fn a_nak_waits_for_its_delay(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    let delay = LEASE * 2;
    let delivery = fetch_one(&bus, "workers").await;
    bus.nak(&delivery, delay, "not yet").await.expect("gives back");
    assert_stale(bus.ack(&delivery).await);
    (place.pass)(delay - MOMENT * 10).await;
    assert_nothing(&bus, "workers").await;
    (place.pass)(MOMENT * 20).await;
    let again = fetch_one(&bus, "workers").await;
    assert_eq!(again.number, 2);
    bus.nak(&again, Duration::ZERO, "now").await.expect("gives back");
    assert_eq!(fetch_one(&bus, "workers").await.number, 3);
}

pub(super) async fn the_last_nak_makes_a_dead_letter(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    for number in 1..=3 {
        let delivery = fetch_one(&bus, "workers").await;
        assert_eq!(delivery.number, number);
        bus.nak(&delivery, Duration::ZERO, &format!("try {number} failed")).await.expect("nak");
    }
    assert_nothing(&bus, "workers").await;
    let letters = bus.dead_letters("workers", 9).await.expect("lists");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message, message(0));
    assert_eq!((letters[0].deliveries, letters[0].reason.as_str()), (3, "try 3 failed"));
}

pub(super) async fn vanished_workers_make_a_dead_letter(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    for _ in 0..3 {
        fetch_one(&bus, "workers").await;
        (place.pass)(LEASE + MOMENT * 10).await;
    }
    assert_nothing(&bus, "workers").await;
    let letters = bus.dead_letters("workers", 9).await.expect("lists");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].deliveries, 3);
    assert!(letters[0].reason.contains("vanished"), "{}", letters[0].reason);
}

pub(super) async fn a_terminated_message_is_dead_at_once(place: &Place) {
    let bus = started(place).await;
    publish(&bus, 0..1).await;
    let delivery = fetch_one(&bus, "workers").await;
    bus.terminate(&delivery, "no such thing").await.expect("terminates");
    assert_stale(bus.terminate(&delivery, "again").await);
    (place.pass)(LEASE * 2).await;
    assert_nothing(&bus, "workers").await;
    let letters = bus.dead_letters("workers", 9).await.expect("lists");
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "no such thing"));
}

pub(super) async fn a_dead_letter_does_not_stop_the_others(place: &Place) {
    let bus = started(place).await;
    bus.subscribe(&subscription("others")).await.expect("subscribes");
    publish(&bus, 0..3).await;
    for delivery in fetch(&bus, "workers").await {
        if delivery.message.id == "run-1" {
            bus.terminate(&delivery, "poison").await.expect("terminates");
        } else {
            bus.ack(&delivery).await.expect("acknowledges");
        }
    }
    publish(&bus, 3..4).await;
    assert_eq!(ids(&fetch(&bus, "workers").await), ["run-3"]);
    assert_eq!(fetch(&bus, "others").await.len(), 4, "other subscriptions still get it");
    assert!(bus.dead_letters("others", 9).await.expect("lists").is_empty());
}
