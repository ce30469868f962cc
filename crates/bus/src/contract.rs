//! What every bus promises, as checks to run against an implementation. They panic where a promise is broken.

mod basics;
mod endings;
mod sharing;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::TenantId;

use crate::{Bus, Delivery, Message, Subscription};

/// A place where a bus keeps its messages.
pub struct Place {
    /// Starts a bus on it. Started again, after the bus before was dropped, it goes on with the same messages.
    pub start: Box<dyn Fn() -> Ready<Arc<dyn Bus>>>,
    /// Lets time pass.
    pub pass: Box<dyn Fn(Duration) -> Ready<()>>,
}

/// A future without an error.
pub type Ready<T> = Pin<Box<dyn Future<Output = T>>>;

/// Runs all checks, each on a new place.
pub async fn contract(make: impl Fn() -> Place) {
    basics::what_is_published_arrives_unchanged(&make()).await;
    basics::what_is_acknowledged_never_comes_again(&make()).await;
    basics::a_message_id_is_published_once(&make()).await;
    basics::a_waiting_fetch_is_woken(&make()).await;
    basics::a_restart_loses_nothing(&make()).await;
    endings::an_expired_lease_hands_the_message_on(&make()).await;
    endings::an_extended_lease_holds(&make()).await;
    endings::a_nak_waits_for_its_delay(&make()).await;
    endings::the_last_nak_makes_a_dead_letter(&make()).await;
    endings::vanished_workers_make_a_dead_letter(&make()).await;
    endings::a_terminated_message_is_dead_at_once(&make()).await;
    endings::a_dead_letter_does_not_stop_the_others(&make()).await;
    sharing::every_subscription_gets_its_own_copy(&make()).await;
    sharing::filters_choose(&make()).await;
    sharing::workers_share_a_subscription(&make()).await;
    sharing::a_slow_subscription_stops_nobody_and_loses_nothing(&make()).await;
    sharing::new_settings_keep_the_position(&make()).await;
    sharing::impossible_subscriptions_are_refused(&make()).await;
}

const LEASE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);

fn message(number: u32) -> Message {
    about("run", number)
}

fn about(entity: &str, number: u32) -> Message {
    Message {
        tenant: TenantId::default(),
        subject: format!("sandgate.v1.{entity}.ended.default"),
        id: format!("{entity}-{number}"),
        headers: BTreeMap::from([("traceparent".to_owned(), format!("00-{number}"))]),
        body: format!(r#"{{"number":{number},"text":"ü\n\"}}"}}"#),
    }
}

fn subscription(name: &str) -> Subscription {
    Subscription {
        name: name.to_owned(),
        filters: vec!["sandgate.v1.>".to_owned()],
        lease: LEASE,
        max_deliveries: 3,
    }
}

/// A bus with one subscription, `workers`.
async fn started(place: &Place) -> Arc<dyn Bus> {
    let bus = (place.start)().await;
    bus.subscribe(&subscription("workers")).await.expect("subscribes");
    bus
}

async fn publish(bus: &Arc<dyn Bus>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        bus.publish(&message(number)).await.expect("publishes");
    }
}

/// What is there now, without waiting.
async fn fetch(bus: &Arc<dyn Bus>, subscription: &str) -> Vec<Delivery> {
    bus.fetch(subscription, 100, Duration::ZERO).await.expect("fetches")
}

async fn fetch_one(bus: &Arc<dyn Bus>, subscription: &str) -> Delivery {
    let mut deliveries = fetch(bus, subscription).await;
    assert_eq!(deliveries.len(), 1, "one message is there: {deliveries:?}");
    deliveries.remove(0)
}

async fn assert_nothing(bus: &Arc<dyn Bus>, subscription: &str) {
    let deliveries = fetch(bus, subscription).await;
    assert!(deliveries.is_empty(), "nothing may be there: {deliveries:?}");
}

fn assert_stale(result: Result<(), crate::Error>) {
    assert!(matches!(result, Err(crate::Error::StaleLease { .. })), "must be stale: {result:?}");
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.message.id.as_str()).collect()
}
