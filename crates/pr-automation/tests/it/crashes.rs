//! The service is cut off at every point at which it waits (taking deliveries in, publishing, consuming, writing), and
//! started again over the same folder: the end is that of an undisturbed one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use sandgate_domain::TenantId;
use sandgate_wire::pulls::v1::PullRequest;
use serde_json::Value;

use crate::runs::{ended, run};
use crate::service::{Place, Service, fork, payload, sha};

/// How many points lie between two cuts, so that the whole takes seconds.
const STEP: usize = 3;

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

/// What people and other services see at the end.
#[derive(Debug, PartialEq)]
struct End {
    pulls: Vec<PullRequest>,
    /// What was told of each revision, without what the sweeper said again.
    told: BTreeMap<(String, u64, u64), usize>,
    deliveries: Vec<(String, String)>,
}

fn deliveries() -> Vec<(&'static str, Value)> {
    vec![
        ("1", payload(1, "opened", 'a', 1)),
        ("2", fork(payload(2, "opened", 'c', 1))),
        ("3", payload(1, "synchronize", 'b', 2)),
        ("2", fork(payload(2, "opened", 'c', 1))),
        ("4", payload(1, "opened", 'a', 1)),
    ]
}

/// All that is done from outside, by whoever tries until it is answered; then the service works for itself until it is idle.
async fn work(place: &Place, service: &mut Service) {
    for (id, body) in deliveries() {
        service.accept(id, "pull_request", &body).await.unwrap();
    }
    let pull = service.get(1).await;
    let runs =
        [ended(&run(1, &pull.id, 1), "cancellation"), ended(&run(2, &pull.id, 2), "failure")];
    for run in runs {
        place.runs.put(&run);
        service.tell("ended", &run).await;
    }
    let is_shown = |pull: &PullRequest| pull.checks.len() == 2 && pull.comment.is_some();
    let until_done = async |service: &Service| {
        service.await_pull(1, is_shown).await;
        service.await_pull(2, |pull| !pull.checks.is_empty()).await;
        service.await_idle().await;
    };
    service.working(until_done).await;
}

async fn end(service: &Service) -> End {
    let mut told = BTreeMap::new();
    for (name, data) in service.all_events().await {
        if data["trigger"] != "sweep" {
            let revision = data["revision"].as_u64().or(data["before"].as_u64()).unwrap();
            let key = (name, data["number"].as_u64().unwrap(), revision);
            *told.entry(key).or_default() += 1;
        }
    }
    let inbox = service.store.inbox(&TenantId::default());
    let arrivals = inbox.list(None, 99).await.unwrap();
    let outcome = |outcome| format!("{outcome:?}");
    let deliveries =
        arrivals.into_iter().map(|one| (one.delivery_id, outcome(one.outcome))).collect();
    let mut pulls = vec![service.get(1).await, service.get(2).await];
    for pull in &mut pulls {
        // What depends on when, and on how often it was tried.
        (pull.id, pull.updated_at) = (String::new(), 0);
    }
    End { pulls, told, deliveries }
}

async fn undisturbed() -> End {
    let place = Place::new();
    let mut service = place.open().await;
    place.repository(&service).await;
    work(&place, &mut service).await;
    end(&service).await
}

#[tokio::test]
async fn cut_off_at_any_point_the_end_is_the_same() {
    let expected = undisturbed().await;
    assert_eq!(expected.told.values().sum::<usize>(), 4, "{:?}", expected.told);
    assert_eq!(expected.pulls[0].head_sha, sha('b'));
    let mut cuts = 0;
    loop {
        let place = Place::new();
        let mut service = place.open().await;
        place.repository(&service).await;
        let cut = Cut { inner: Box::pin(work(&place, &mut service)), left: 1 + cuts * STEP };
        let is_done = cut.await.is_some();
        service.kill().await;
        if is_done {
            break;
        }
        // Leases of what was in hand run out.
        place.clock.advance(std::time::Duration::from_secs(120));
        let mut service = place.open().await;
        work(&place, &mut service).await;
        assert_eq!(end(&service).await, expected, "cut off at {}", 1 + cuts * STEP);
        service.kill().await;
        cuts += 1;
    }
    assert!(cuts > 20, "only {cuts} points were reached");
    println!("{cuts} points");
}
