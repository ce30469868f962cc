//! Who gets which step, and what a token is worth.

use std::time::{Duration, Instant};

use sandgate_domain::ErrorCode;
use sandgate_wire::agent::v1::{ClaimRequest, RenewRequest};
use sandgate_wire::token::TokenKey;

use crate::fixture::{Fixture, SECRET, assert_refused, isolation, new_run, next, room};

#[tokio::test]
async fn a_claim_holds_all_that_is_needed_and_nobody_else_gets_the_step() {
    let fixture = Fixture::new().await;
    let run = fixture.run("  unit: { run: make test }\n").await;
    let claimed = fixture.claim().await;
    assert_eq!((claimed.run.as_str(), claimed.name.as_str()), (&*run.to_string(), "unit"));
    assert_eq!((claimed.kind.as_str(), claimed.tier.as_str()), ("gate", "member"));
    assert_eq!((claimed.attempt, claimed.fence, claimed.log_offset), (1, 1, 0));
    assert!(claimed.plan.contains("make test"));
    assert_eq!(claimed.source.unwrap().folder, "/srv/price");
    let token = TokenKey::new(&SECRET).verify_signature(&claimed.token).unwrap();
    assert_eq!((token.run, token.fence), (run, 1));
    assert_eq!(token.step.to_string(), claimed.step);
    assert_eq!(token.lease_until.as_micros(), claimed.lease_until);
    assert_eq!(fixture.try_claim(None, Duration::ZERO).await, None);
}

#[tokio::test]
async fn whoever_waits_gets_a_step_as_soon_as_there_is_one() {
    let fixture = Fixture::new().await;
    let started = Instant::now();
    let (claimed, _run) = tokio::join!(
        fixture.try_claim(None, Duration::from_secs(20)),
        fixture.run("  unit: { run: make test }\n")
    );
    assert_eq!(claimed.unwrap().name, "unit");
    // A look of its own would come after a second.
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_run_of_a_working_tree_is_for_its_own_process() {
    let fixture = Fixture::new().await;
    let run = fixture.agent.create_run(new_run("  unit: { run: echo }\n", false)).await.unwrap();
    fixture.agent.begin(run, &isolation()).await.unwrap();
    assert_eq!(fixture.try_claim(None, Duration::ZERO).await, None);
    let claimed = fixture.try_claim(Some(run), Duration::ZERO).await.unwrap();
    assert_eq!(claimed.source, None);
}

#[tokio::test]
async fn a_claim_needs_an_owner_and_room() {
    let fixture = Fixture::new().await;
    let without_owner = ClaimRequest { owner: String::new(), ..next() };
    let without_room = ClaimRequest { room: None, ..next() };
    let without_slots = ClaimRequest { room: Some(room(0)), ..next() };
    for request in [without_owner, without_room, without_slots] {
        let answer = fixture.client.clone().claim(request).await;
        assert_refused(answer, ErrorCode::InvalidArgument);
    }
}

#[tokio::test]
async fn calls_without_a_token_of_ours_are_refused() {
    let fixture = Fixture::new().await;
    fixture.run("  unit: { run: echo }\n").await;
    let claimed = fixture.claim().await;
    let message = RenewRequest { wait_ms: 0, started_at: None };
    let bare = fixture.client.clone().renew(message).await;
    assert_refused(bare, ErrorCode::PermissionDenied);
    let key = TokenKey::new(&SECRET);
    let token = key.verify_signature(&claimed.token).unwrap();
    let foreign = TokenKey::new(&[8; 32]).sign(&token);
    let mut other_tenant = token.clone();
    other_tenant.tenant = "other".parse().unwrap();
    for token in [foreign, key.sign(&other_tenant), "v1.default".to_owned(), String::new()] {
        assert_refused(fixture.renew(&token, Duration::ZERO).await, ErrorCode::PermissionDenied);
        assert_refused(fixture.append(&token, 0, b"x").await, ErrorCode::PermissionDenied);
        let report = fixture.exited(0);
        assert_refused(fixture.complete(&token, report).await, ErrorCode::PermissionDenied);
    }
    // Signed, but of a claim that nobody made.
    let mut ahead = token;
    ahead.fence = 2;
    let ahead = key.sign(&ahead);
    assert_refused(fixture.renew(&ahead, Duration::ZERO).await, ErrorCode::Conflict);
}

#[tokio::test]
async fn what_becomes_ready_together_goes_to_all_who_wait_and_to_nobody_who_left() {
    let fixture = Fixture::new().await;
    {
        let left = fixture.try_claim(None, Duration::from_secs(20));
        let given_up = tokio::time::timeout(Duration::from_millis(50), left).await;
        assert!(given_up.is_err(), "there is no step yet");
    }
    let started = Instant::now();
    let wait = Duration::from_secs(20);
    let gates = "  lint: { run: echo }\n  unit: { run: echo }\n  docs: { run: echo }\n";
    let (first, second, _run) = tokio::join!(
        fixture.try_claim(None, wait),
        fixture.try_claim(None, wait),
        fixture.run(gates)
    );
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    let third = fixture.claim().await;
    let mut names = [first.unwrap(), second.unwrap(), third].map(|claimed| claimed.name);
    names.sort();
    assert_eq!(names, ["docs", "lint", "unit"]);
    assert_eq!(fixture.try_claim(None, Duration::ZERO).await, None);
}

#[tokio::test]
async fn what_becomes_ready_together_goes_to_one_runner_that_has_room_for_it_at_once() {
    let fixture = Fixture::new().await;
    let gates: String =
        (0..20).map(|number| format!("  gate{number}: {{ run: echo }}\n")).collect();
    let request = ClaimRequest { wait_ms: 20_000, room: Some(room(11)), ..next() };
    let (first, _run) = tokio::join!(fixture.claim_as(request.clone()), fixture.run(&gates));
    let second = fixture.claim_as(request.clone()).await;
    assert_eq!((first.len(), second.len()), (8, 3));
    let names: Vec<&str> =
        first.iter().chain(&second).map(|claimed| claimed.name.as_str()).collect();
    let expected: Vec<String> = (0..11).map(|number| format!("gate{number}")).collect();
    assert_eq!(names, expected);
    let request = ClaimRequest { wait_ms: 0, ..request };
    assert_eq!(fixture.claim_as(request).await, []);
}
