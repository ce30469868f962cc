//! Steps: one owner at a time, one result each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{Completion, GateResult, Share, SnapshotId, StepState};
use sandgate_store::{Acceptance, Error, HandedOut, Retry};

use crate::fixture::{Fixture, LEASE};

fn is_stale<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::StaleFence { .. }))
}

#[tokio::test]
async fn a_step_from_waiting_to_its_result() {
    let fixture = Fixture::new().await;
    let run = fixture.run();
    let mut step = fixture.step(run.id, "unit", StepState::Waiting);
    fixture.store.runs(&fixture.tenant).create(&run, &[step.clone()]).await.unwrap();
    let steps = fixture.store.steps(&fixture.tenant);
    assert_eq!(steps.claim(step.id, "me", fixture.now(), LEASE).await.unwrap(), None);
    assert!(steps.ready(step.id).await.unwrap());
    assert!(!steps.ready(step.id).await.unwrap());

    let claimed_at = fixture.now();
    let claim = steps.claim(step.id, "me", claimed_at, LEASE).await.unwrap().unwrap();
    assert_eq!((claim.fence, claim.attempt, claim.infra_retries), (1, 1, 0));
    assert_eq!(steps.claim(step.id, "you", claimed_at, LEASE).await.unwrap(), None);

    fixture.clock.advance(Duration::from_millis(4));
    let started_at = fixture.now();
    steps.start(step.id, 1, started_at).await.unwrap();
    fixture.clock.advance(Duration::from_millis(4));
    steps.start(step.id, 1, fixture.now()).await.unwrap();

    let completion = Completion {
        result: GateResult::Failure,
        reason: Some("a test failed".to_owned()),
        exit_code: Some(1),
        signal: None,
        reports: Some(r#"{"tests":12,"failed":1}"#.to_owned()),
        snapshot: Some(SnapshotId::new(&fixture.ids)),
    };
    let now = fixture.now();
    assert_eq!(steps.complete(step.id, 1, &completion, now).await.unwrap(), Acceptance::First);
    step.attempts = 1;
    step.fence = 1;
    step.state = StepState::Ended {
        completion: completion.clone(),
        claimed_at: Some(claimed_at),
        started_at: Some(started_at),
        ended_at: now,
    };
    assert_eq!(steps.get(step.id).await.unwrap(), Some(step.clone()));

    let other = Completion::of(GateResult::Success);
    assert_eq!(steps.complete(step.id, 1, &other, now).await.unwrap(), Acceptance::Repeated);
    assert_eq!(steps.get(step.id).await.unwrap(), Some(step));
}

#[tokio::test]
async fn what_a_step_holds_counts_as_long_as_its_claim() {
    let fixture = Fixture::new().await;
    let (_, planned) = fixture.planned(3).await;
    let steps = fixture.store.steps(&fixture.tenant);
    let handed_out = |owner| {
        let steps = steps.clone();
        async move { steps.handed_out(owner).await.unwrap() }
    };
    assert_eq!(handed_out("me").await, HandedOut::default());
    let share = |cpu_millis, memory_bytes| Share { cpu_millis, memory_bytes };
    for (step, owner) in planned.iter().zip(["me", "you", "me"]) {
        let claim = steps.claim(step.id, owner, fixture.now(), LEASE).await.unwrap().unwrap();
        steps.set_aside(step.id, claim.fence, share(500, 3 << 30)).await.unwrap();
    }
    let all = HandedOut { own: 2, steps: 3, share: share(1500, 9 << 30) };
    assert_eq!(handed_out("me").await, all);
    assert_eq!(handed_out("nobody").await, HandedOut { own: 0, ..all });
    assert!(is_stale(steps.set_aside(planned[0].id, 2, share(0, 0)).await));

    steps.release(planned[0].id, 1, Retry::Gate).await.unwrap();
    let completion = Completion::of(GateResult::Success);
    steps.complete(planned[1].id, 1, &completion, fixture.now()).await.unwrap();
    assert_eq!(handed_out("me").await, HandedOut { own: 1, steps: 1, share: share(500, 3 << 30) });
    steps.set_aside(planned[2].id, 1, share(u64::MAX, u64::MAX)).await.unwrap();
    assert_eq!(handed_out("me").await.share, share(1 << 52, 1 << 52), "what a sum can hold");
}

#[tokio::test]
async fn who_lost_the_lease_changes_nothing_any_more() {
    let fixture = Fixture::new().await;
    let (_, planned) = fixture.planned(1).await;
    let id = planned[0].id;
    let steps = fixture.store.steps(&fixture.tenant);
    let slow = steps.claim(id, "slow", fixture.now(), LEASE).await.unwrap().unwrap();
    fixture.clock.advance(LEASE);
    assert_eq!(steps.expired(fixture.now(), 9).await.unwrap().len(), 1);
    assert!(is_stale(steps.renew(id, slow.fence, fixture.now(), LEASE).await));

    let quick = steps.claim(id, "quick", fixture.now(), LEASE).await.unwrap().unwrap();
    assert_eq!((quick.fence, quick.attempt, quick.infra_retries), (2, 2, 1));
    let done = Completion::of(GateResult::Success);
    let now = fixture.now();
    assert!(is_stale(steps.renew(id, slow.fence, now, LEASE).await));
    assert!(is_stale(steps.start(id, slow.fence, now).await));
    assert!(is_stale(steps.release(id, slow.fence, Retry::Infra).await));
    assert!(is_stale(steps.complete(id, slow.fence, &done, now).await));
    assert!(!steps.expire(id, slow.fence, &done, now).await.unwrap());
    let StepState::Claimed { owner, .. } = steps.get(id).await.unwrap().unwrap().state else {
        panic!("it must still be claimed")
    };
    assert_eq!(owner, "quick");
    steps.complete(id, quick.fence, &done, now).await.unwrap();
}

#[tokio::test]
async fn a_late_result_counts_while_nobody_else_took_the_step() {
    let fixture = Fixture::new().await;
    let (_, planned) = fixture.planned(1).await;
    let steps = fixture.store.steps(&fixture.tenant);
    let claim = steps.claim(planned[0].id, "me", fixture.now(), LEASE).await.unwrap().unwrap();
    fixture.clock.advance(LEASE * 2);
    let done = Completion::of(GateResult::Success);
    let accepted = steps.complete(planned[0].id, claim.fence, &done, fixture.now()).await.unwrap();
    assert_eq!(accepted, Acceptance::First);
}

#[tokio::test]
async fn an_expired_step_without_retries_left_is_ended_by_the_sweeper() {
    let fixture = Fixture::new().await;
    let (_, planned) = fixture.planned(1).await;
    let id = planned[0].id;
    let steps = fixture.store.steps(&fixture.tenant);
    let claim = steps.claim(id, "me", fixture.now(), LEASE).await.unwrap().unwrap();
    let lost = Completion::because(GateResult::Error, "the runner vanished");
    assert!(!steps.expire(id, claim.fence, &lost, fixture.now()).await.unwrap(), "lease holds");
    fixture.clock.advance(LEASE);
    assert!(steps.expire(id, claim.fence, &lost, fixture.now()).await.unwrap());
    let late = Completion::of(GateResult::Success);
    assert!(is_stale(steps.complete(id, claim.fence, &late, fixture.now()).await));
}

#[tokio::test]
async fn cancelling_a_run_ends_its_steps_under_their_owners() {
    let fixture = Fixture::new().await;
    let (run, planned) = fixture.planned(3).await;
    let steps = fixture.store.steps(&fixture.tenant);
    let now = fixture.now();
    let done = Completion::of(GateResult::Success);
    let first = steps.claim(planned[0].id, "me", now, LEASE).await.unwrap().unwrap();
    steps.complete(planned[0].id, first.fence, &done, now).await.unwrap();
    let second = steps.claim(planned[1].id, "me", now, LEASE).await.unwrap().unwrap();

    let cancelled = Completion::because(GateResult::Cancellation, "a newer commit came");
    let mut settled = steps.settle_run(run.id, &cancelled, now).await.unwrap();
    settled.sort();
    assert_eq!(settled, [planned[1].id, planned[2].id]);
    assert!(is_stale(steps.complete(planned[1].id, second.fence, &done, now).await));
    assert!(!steps.settle(planned[0].id, &cancelled, now).await.unwrap());
    let results: BTreeMap<_, _> = steps
        .of_run(run.id)
        .await
        .unwrap()
        .into_iter()
        .map(|step| (step.name.clone(), step.state.completion().unwrap().result))
        .collect();
    assert_eq!(results["gate-0"], GateResult::Success);
    assert_eq!(results["gate-1"], GateResult::Cancellation);
    assert_eq!(results["gate-2"], GateResult::Cancellation);
}

#[tokio::test]
async fn infra_retries_are_counted_apart() {
    let fixture = Fixture::new().await;
    let (_, planned) = fixture.planned(1).await;
    let id = planned[0].id;
    let steps = fixture.store.steps(&fixture.tenant);
    for (retry, infra_retries) in [(Retry::Gate, 0), (Retry::Infra, 1), (Retry::Infra, 2)] {
        let claim = steps.claim(id, "me", fixture.now(), LEASE).await.unwrap().unwrap();
        steps.release(id, claim.fence, retry).await.unwrap();
        assert_eq!(steps.get(id).await.unwrap().unwrap().infra_retries, infra_retries);
    }
    let step = steps.get(id).await.unwrap().unwrap();
    assert_eq!((step.attempts, step.fence, step.state), (3, 3, StepState::Ready));
}

/// Eight workers over two sets of connections to one file: every step is claimed and accepted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_claim_five_hundred_steps_once_each() {
    let fixture = Arc::new(Fixture::new().await);
    let (run, _) = fixture.planned(500).await;
    let other = fixture.open_again().await;
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let store = if worker % 2 == 0 { fixture.store.clone() } else { other.clone() };
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                let steps = store.steps(&fixture.tenant);
                let owner = format!("worker-{worker}");
                let mut done = 0;
                loop {
                    let claimable = steps.claimable(fixture.now(), 20).await.unwrap();
                    if claimable.is_empty() {
                        return done;
                    }
                    for step in claimable {
                        let claim = steps.claim(step.id, &owner, fixture.now(), LEASE).await;
                        let Some(claim) = claim.unwrap() else { continue };
                        let success = Completion::of(GateResult::Success);
                        steps
                            .complete(step.id, claim.fence, &success, fixture.now())
                            .await
                            .unwrap();
                        done += 1;
                    }
                }
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        total += worker.await.unwrap();
    }
    assert_eq!(total, 500);
    let steps = fixture.store.steps(&fixture.tenant).of_run(run.id).await.unwrap();
    assert!(steps.iter().all(|step| step.attempts == 1 && step.fence == 1));
}
