//! Events next to each other, events that fail, and events that come too late.

mod crashes;

use std::sync::atomic::{AtomicUsize, Ordering};

use sandgate_bus::{DeadLetter, Message, Pending, Published};
use sandgate_domain::ErrorCode;
use tokio::task::JoinHandle;

use super::*;
use crate::agent::{Claimer, Held};
use crate::outside::{World, pull, room, until};

/// A bus that counts the signs of life, and what is to be tried again.
struct Watched {
    bus: Arc<dyn Bus>,
    extended: AtomicUsize,
    put_off: AtomicUsize,
}

impl Watched {
    fn new(bus: &Arc<dyn Bus>) -> Arc<Self> {
        let (extended, put_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { bus: Arc::clone(bus), extended, put_off })
    }
}

impl Bus for Watched {
    fn publish<'a>(&'a self, message: &'a Message) -> Pending<'a, Published> {
        self.bus.publish(message)
    }

    fn subscribe<'a>(&'a self, subscription: &'a Subscription) -> Pending<'a, ()> {
        self.bus.subscribe(subscription)
    }

    fn fetch<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
        wait: Duration,
    ) -> Pending<'a, Vec<Delivery>> {
        self.bus.fetch(subscription, limit, wait)
    }

    fn ack<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()> {
        self.bus.ack(delivery)
    }

    fn nak<'a>(
        &'a self,
        delivery: &'a Delivery,
        delay: Duration,
        reason: &'a str,
    ) -> Pending<'a, ()> {
        Box::pin(async move {
            self.bus.nak(delivery, delay, reason).await?;
            self.put_off.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn extend<'a>(&'a self, delivery: &'a Delivery) -> Pending<'a, ()> {
        Box::pin(async move {
            self.bus.extend(delivery).await?;
            self.extended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn terminate<'a>(&'a self, delivery: &'a Delivery, reason: &'a str) -> Pending<'a, ()> {
        self.bus.terminate(delivery, reason)
    }

    fn dead_letters<'a>(
        &'a self,
        subscription: &'a str,
        limit: u32,
    ) -> Pending<'a, Vec<DeadLetter>> {
        self.bus.dead_letters(subscription, limit)
    }
}

struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn consumer(world: &World, bus: Arc<dyn Bus>) -> Consumer {
    let (agent, planner) = (world.agent.clone(), world.planner.clone());
    let consumer = Consumer::new(agent, planner, world.process.connection(), bus);
    consumer.subscribe().await.unwrap();
    Consumer { heartbeat: Duration::from_millis(5), ..consumer }
}

async fn start(world: &World, bus: Arc<dyn Bus>) -> Working {
    let stop = CancellationToken::new();
    let running = consumer(world, bus).await.run(stop.clone());
    Working { stop, task: tokio::spawn(running) }
}

#[tokio::test]
async fn a_slow_source_holds_up_its_own_pull_request_only() {
    let (_folder, world) = World::new().await;
    let (slow, quick) = (pull(1), pull(2));
    world.outside.set_present(slow, 1);
    world.outside.set_present(quick, 1);
    let free = world.outside.stick("acme/slow");
    let working = start(&world, Arc::clone(&world.bus)).await;
    world.want(slow, "acme/slow", 1).await;
    world.want(quick, "acme/quick", 1).await;
    until("the quick one has its run", || async { !world.runs_of(quick).await.is_empty() }).await;
    assert!(world.runs_of(slow).await.is_empty());
    free.notify_one();
    until("the slow one has its run", || async { !world.runs_of(slow).await.is_empty() }).await;
    working.stop().await;
}

#[tokio::test]
async fn events_that_wait_for_a_slow_one_keep_their_leases_and_their_order() {
    let (_folder, world) = World::new().await;
    let one = pull(1);
    world.outside.set_present(one, 1);
    let free = world.outside.stick("acme/slow");
    let bus = Watched::new(&world.bus);
    let working = start(&world, Arc::clone(&bus) as Arc<dyn Bus>).await;
    world.want(one, "acme/slow", 1).await;
    world.supersede(one, "acme/slow", 2).await;
    until("the source is asked", || async { !world.outside.resolved().is_empty() }).await;
    for _ in 0..4 {
        world.clock.advance(LEASE * 2 / 3);
        let before = bus.extended.load(Ordering::SeqCst);
        // Two rounds of both: one of them began after the time had passed.
        until("leases are extended", || async {
            bus.extended.load(Ordering::SeqCst) >= before + 4
        })
        .await;
        let others = world.bus.fetch(SUBSCRIPTION, 9, Duration::ZERO).await.unwrap();
        assert!(others.is_empty(), "handed to somebody else: {others:?}");
    }
    free.notify_one();
    until("both are done with", || async {
        world.store.event_log().waiting(SUBSCRIPTION).await.unwrap() == 0
    })
    .await;
    working.stop().await;
    let claimer = Claimer { owner: "a runner".to_owned(), only: None, room: room(1) };
    let claimed = world.agent.claim(&claimer, Duration::ZERO).await.unwrap().remove(0);
    let held = Held { run: claimed.run.id, step: claimed.step, fence: claimed.fence };
    let renewed = world.agent.renew(held, Duration::ZERO).await.unwrap();
    assert!(renewed.stop.is_some(), "the later event found the run of the earlier one");
}

#[tokio::test]
async fn a_source_that_stays_away_is_told_on_the_pull_request_and_may_be_asked_for_again() {
    let (_folder, world) = World::new().await;
    let one = pull(1);
    world.outside.set_present(one, 1);
    world.outside.fail("acme/web", Some(ErrorCode::Unavailable));
    let bus = Watched::new(&world.bus);
    let working = start(&world, Arc::clone(&bus) as Arc<dyn Bus>).await;
    world.want(one, "acme/web", 1).await;
    for number in 1..=MAX_DELIVERIES {
        let tried = || async { world.outside.resolved().len() == number as usize };
        until("it is tried", tried).await;
        if number < MAX_DELIVERIES {
            assert!(world.outside.reports().is_empty(), "told after {number} tries");
            // The answer is taken before time passes, or the wait would begin later.
            let is_put_off = || async { bus.put_off.load(Ordering::SeqCst) == number as usize };
            until("it waits", is_put_off).await;
            world.pass(Duration::from_secs(301)).await;
        }
    }
    until("it is told", || async { !world.outside.reports().is_empty() }).await;
    let report = world.outside.reports().remove(0);
    assert_eq!((report.code.as_str(), report.passing, report.revision), ("unavailable", true, 1));
    until("it is a dead letter", || async {
        world.bus.dead_letters(SUBSCRIPTION, 9).await.unwrap().len() == 1
    })
    .await;
    assert_eq!(world.outside.reports().len(), 1, "it is told once");

    world.outside.fail("acme/web", None);
    world.want(one, "acme/web", 1).await;
    until("asked for again it has a run", || async { world.runs_of(one).await.len() == 1 }).await;
    working.stop().await;
}

#[tokio::test]
async fn what_can_never_work_is_told_at_once() {
    let (_folder, world) = World::new().await;
    let one = pull(1);
    world.outside.set_present(one, 1);
    world.outside.fail("acme/web", Some(ErrorCode::NotFound));
    let working = start(&world, Arc::clone(&world.bus)).await;
    world.want(one, "acme/web", 1).await;
    until("it is told", || async { !world.outside.reports().is_empty() }).await;
    let report = world.outside.reports().remove(0);
    assert_eq!((report.code.as_str(), report.passing), ("not_found", false));
    working.stop().await;
    assert!(world.bus.dead_letters(SUBSCRIPTION, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_that_is_tried_again_after_a_newer_one_makes_no_run() {
    let (_folder, world) = World::new().await;
    let one = pull(1);
    world.outside.set_present(one, 1);
    world.outside.fail("acme/web", Some(ErrorCode::Unavailable));
    let working = start(&world, Arc::clone(&world.bus)).await;
    world.want(one, "acme/web", 1).await;
    until("it is tried", || async { world.outside.resolved().len() == 1 }).await;
    world.outside.fail("acme/web", None);
    world.outside.set_present(one, 2);
    world.want(one, "acme/web", 2).await;
    until("the newer one has a run", || async { world.runs_of(one).await.len() == 1 }).await;
    world.pass(Duration::from_secs(10)).await;
    until("all events are done with", || async {
        world.store.event_log().waiting(SUBSCRIPTION).await.unwrap() == 0
    })
    .await;
    working.stop().await;
    assert_eq!(world.runs_of(one).await, [(2, "running")]);
}
