//! The consumer is cut off at every point at which it waits, and started again: the end is that of an undisturbed one.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use sandgate_domain::TenantId;
use sandgate_testkit::{CountingIds, MockClock};

use super::*;
use crate::agent::{OUTBOX, Saved};
use crate::outside::Outside;

/// A future that is dropped instead of being polled once more than `left` times.
struct Cut<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.inner.as_mut().poll(context).map(Some)
    }
}

/// What is left at the end: each run with its key, generation and whether it is to stop, and how often each was told of.
type End = (BTreeMap<String, (u32, bool)>, BTreeMap<String, usize>);

struct Place {
    folder: tempfile::TempDir,
    outside: Outside,
    clock: MockClock,
    ids: Arc<CountingIds>,
}

impl Place {
    /// Three pull requests: one that moved on, one that was closed, one that was told of three times.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (outside, clock, ids) = (Outside::default(), MockClock::default(), Arc::default());
        let place = Self { folder, outside, clock, ids };
        let world = place.open().await;
        consumer(&world, Arc::clone(&world.bus)).await;
        let repository = "acme/web";
        // The first one moves on while its events are on the way, so that its first run is made, and cancelled.
        for (number, revision) in [(1, 1), (2, 2), (3, 1)] {
            world.outside.set_present(pull(number), revision);
        }
        world.want(pull(1), repository, 1).await;
        world.want(pull(2), repository, 1).await;
        world.supersede(pull(1), repository, 2).await;
        world.want(pull(1), repository, 2).await;
        let closed =
            PullRequestChanged { open: false, ..crate::outside::changed(pull(2), repository, 2) };
        world.publish("pr", "closed", &pull(2).to_string(), closed).await;
        for _ in 0..3 {
            world.want(pull(3), repository, 1).await;
        }
        world.store.close().await;
        place
    }

    async fn open(&self) -> World {
        let folder: &Path = self.folder.path();
        World::open(folder, &self.outside, &self.clock, &self.ids).await
    }

    /// Consumes until all is done, or until it is cut off; whether it came to the end.
    async fn consume(&self, polls: usize) -> bool {
        let world = self.open().await;
        let consumer = consumer(&world, Arc::clone(&world.bus)).await;
        // One after the other, in this task: so that a cut falls on a point in the middle of a handler.
        let working = async {
            loop {
                let fetched = world.bus.fetch(SUBSCRIPTION, 64, Duration::ZERO).await.unwrap();
                if fetched.is_empty() {
                    return;
                }
                for delivery in fetched {
                    consumer.clone().settle(delivery).await;
                }
            }
        };
        let is_done = Cut { inner: Box::pin(working), left: polls }.await.is_some();
        world.store.close().await;
        is_done
    }

    async fn end(&self) -> End {
        let world = self.open().await;
        let runs = world.store.runs(&TenantId::default()).unfinished(100).await.unwrap();
        let mut found = BTreeMap::new();
        for run in runs {
            let saved: Saved = serde_json::from_str(&run.progress).unwrap();
            let is_cancelled = saved.state.cancelled.is_some();
            let known = found.insert(run.request_key.unwrap(), (run.generation, is_cancelled));
            assert_eq!(known, None, "two runs of one revision");
        }
        let mut told = BTreeMap::new();
        for message in world.store.outbox(OUTBOX).unpublished(1000).await.unwrap() {
            if message.subject.contains(".queued.") {
                let event: Event = serde_json::from_str(&message.body).unwrap();
                *told.entry(event.data["generation"].to_string()).or_default() += 1;
            }
        }
        world.store.close().await;
        (found, told)
    }
}

#[tokio::test]
async fn cut_off_at_any_point_the_end_is_the_same() {
    let undisturbed = Place::new().await;
    assert!(undisturbed.consume(usize::MAX).await);
    let expected = undisturbed.end().await;
    let keys: Vec<String> = expected.0.keys().cloned().collect();
    let wanted = [(1, 1), (1, 2), (3, 1)];
    assert_eq!(keys, wanted.map(|(number, revision)| format!("{}/{revision}", pull(number))));
    let cancelled: Vec<bool> = expected.0.values().map(|(_, is_cancelled)| *is_cancelled).collect();
    assert_eq!(cancelled, [true, false, false]);

    let mut cuts = 0;
    loop {
        let place = Place::new().await;
        if place.consume(cuts).await {
            break;
        }
        // What was in hand is handed out again when its lease is over.
        place.clock.advance(LEASE * 2);
        assert!(place.consume(usize::MAX).await);
        assert_eq!(place.end().await, expected, "cut off at {cuts}");
        cuts += 1;
    }
    assert!(cuts > 30, "only {cuts} points were reached");
    println!("{cuts} points");
}
