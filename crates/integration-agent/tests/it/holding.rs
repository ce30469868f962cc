//! Leases: renewed, lost, and the order to stop.

use std::time::{Duration, Instant};

use sandgate_domain::{Clock, ErrorCode, StepState};
use sandgate_wire::agent::v1::RenewRequest;
use sandgate_wire::token::{TokenKey, with_step_token};

use crate::fixture::{Fixture, SECRET, assert_refused};

const GATES: &str = "  unit: { run: echo }\n";

#[tokio::test]
async fn a_renewed_lease_lasts_and_its_token_tells_so() {
    let fixture = Fixture::new().await;
    fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    fixture.clock.advance(Duration::from_secs(29));
    let renewed = fixture.renew(&claimed.token, Duration::ZERO).await.unwrap();
    assert_eq!(renewed.stop, None);
    assert_eq!(renewed.lease_until - claimed.lease_until, 29_000_000);
    let token = TokenKey::new(&SECRET).verify(&renewed.token, fixture.clock.now()).unwrap();
    assert_eq!(token.lease_until.as_micros(), renewed.lease_until);
    // One that is fresh is not written again.
    let again = fixture.renew(&renewed.token, Duration::ZERO).await.unwrap();
    assert_eq!(again.lease_until, renewed.lease_until);
    // The old token is of the same claim.
    fixture.renew(&claimed.token, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_step_is_told_at_once_and_why() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    let started = Instant::now();
    let (renewed, cancelled) = tokio::join!(
        fixture.renew(&claimed.token, Duration::from_secs(20)),
        fixture.agent.cancel(run, "a newer commit was pushed")
    );
    cancelled.unwrap();
    assert_eq!(renewed.unwrap().stop.as_deref(), Some("a newer commit was pushed"));
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    // And again, to whoever missed it.
    let again = fixture.renew(&claimed.token, Duration::from_secs(20)).await.unwrap();
    assert_eq!(again.stop.as_deref(), Some("a newer commit was pushed"));
}

#[tokio::test]
async fn a_step_without_a_sign_of_life_is_another_attempt_and_the_first_holder_is_refused() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let first = fixture.claim().await;
    fixture.append(&first.token, 0, b"one ").await.unwrap();
    fixture.clock.advance(Duration::from_secs(31));
    assert_refused(fixture.renew(&first.token, Duration::ZERO).await, ErrorCode::Conflict);
    let second = fixture.claim().await;
    assert_eq!((second.step.as_str(), second.attempt), (first.step.as_str(), 2));
    assert_eq!((second.fence, second.log_offset), (2, 4));

    assert_refused(fixture.renew(&first.token, Duration::ZERO).await, ErrorCode::Conflict);
    assert_refused(fixture.append(&first.token, 4, b"late").await, ErrorCode::Conflict);
    let late = fixture.complete(&first.token, fixture.exited(0)).await;
    assert_refused(late, ErrorCode::Conflict);
    fixture.append(&second.token, 4, b"two").await.unwrap();
    fixture.complete(&second.token, fixture.exited(1)).await.unwrap();
    let (row, steps) = fixture.agent.run(run).await.unwrap();
    assert_eq!(row.state.result().unwrap().as_str(), "failure");
    assert_eq!((steps[0].attempts, steps[0].infra_retries), (2, 1));
    let step = first.step.parse().unwrap();
    assert_eq!(fixture.logs.read(run, step, 0, 100).unwrap(), b"one two");
}

#[tokio::test]
async fn the_start_of_commands_is_kept_the_first_time() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    for at in [5, 9] {
        let message = RenewRequest { wait_ms: 0, started_at: Some(at) };
        let request = with_step_token(message, &claimed.token);
        fixture.client.clone().renew(request).await.unwrap();
    }
    let (_, steps) = fixture.agent.run(run).await.unwrap();
    assert!(matches!(steps[0].state, StepState::Claimed { .. }));
    assert_eq!(steps[0].state.started_at().unwrap().as_micros(), 5);
}

#[tokio::test]
async fn the_end_of_an_abandoned_run_reaches_whoever_holds_a_step_of_it() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let claimed = fixture.claim().await;
    let started = Instant::now();
    let result = sandgate_domain::GateResult::Cancellation;
    let (renewed, abandoned) = tokio::join!(
        fixture.renew(&claimed.token, Duration::from_secs(20)),
        fixture.agent.abandon(run, result, "not wanted")
    );
    abandoned.unwrap();
    assert_refused(renewed, ErrorCode::Conflict);
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}
