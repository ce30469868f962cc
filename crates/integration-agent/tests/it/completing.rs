//! Results: one is accepted for each gate of a run, however often it is told.

use sandgate_domain::{ErrorCode, GateResult, StepState};
use sandgate_wire::agent::v1::CompleteRequest;

use crate::fixture::{Fixture, assert_refused, next};

#[tokio::test]
async fn a_result_that_is_told_again_after_a_lost_reply_changes_nothing() {
    let fixture = Fixture::new().await;
    let run = fixture.run("  unit: { run: echo }\n").await;
    let claimed = fixture.claim().await;
    let first = fixture.complete(&claimed.token, fixture.exited(1)).await.unwrap();
    assert!(first.is_first);
    assert_eq!(first.verdict.as_deref(), Some("failure"));
    let before = fixture.agent.run(run).await.unwrap();
    for report in [fixture.exited(1), fixture.exited(0)] {
        let again = fixture.complete(&claimed.token, report).await.unwrap();
        assert!(!again.is_first);
        assert_eq!(again.verdict.as_deref(), Some("failure"));
    }
    assert_eq!(fixture.agent.run(run).await.unwrap(), before);
}

#[tokio::test]
async fn a_lost_attempt_that_is_told_again_is_counted_once() {
    let fixture = Fixture::new().await;
    let run = fixture.run("  unit: { run: echo }\n").await;
    let claimed = fixture.claim().await;
    assert!(fixture.complete(&claimed.token, fixture.lost()).await.unwrap().is_first);
    let again = fixture.complete(&claimed.token, fixture.lost()).await.unwrap();
    assert_eq!((again.is_first, again.verdict), (false, None));
    let second = fixture.claim().await;
    assert_eq!((second.attempt, second.fence), (2, 2));
    let late = fixture.complete(&claimed.token, fixture.exited(0)).await;
    assert_refused(late, ErrorCode::Conflict);
    let (_, steps) = fixture.agent.run(run).await.unwrap();
    assert_eq!((steps[0].attempts, steps[0].infra_retries), (2, 1));
}

#[tokio::test]
async fn a_result_brings_the_next_step_with_it() {
    let fixture = Fixture::new().await;
    fixture.run("  build: { run: make }\n  unit: { needs: [build], run: echo }\n").await;
    let build = fixture.claim().await;
    let mut report = fixture.exited(0);
    report.next = Some(next());
    let reply = fixture.complete(&build.token, report.clone()).await.unwrap();
    let [unit] = &reply.next[..] else { panic!("{reply:?}") };
    assert_eq!((unit.name.as_str(), unit.fence), ("unit", 1));
    fixture.renew(&unit.token, std::time::Duration::ZERO).await.unwrap();
    // Told again, it is not handed out twice.
    let again = fixture.complete(&build.token, report).await.unwrap();
    assert_eq!((again.is_first, again.next), (false, Vec::new()));
}

#[tokio::test]
async fn the_start_of_commands_comes_with_the_result_if_it_was_not_told_before() {
    let fixture = Fixture::new().await;
    let run = fixture.run("  unit: { run: echo }\n").await;
    let claimed = fixture.claim().await;
    let report = CompleteRequest { started_at: Some(7), ..fixture.exited(1) };
    fixture.complete(&claimed.token, report).await.unwrap();
    let (_, steps) = fixture.agent.run(run).await.unwrap();
    assert_eq!(steps[0].state.started_at().unwrap().as_micros(), 7);
}

#[tokio::test]
async fn a_report_that_can_not_be_read_is_refused_and_the_step_stays_held() {
    let fixture = Fixture::new().await;
    let run = fixture.run("  unit: { run: echo }\n").await;
    let claimed = fixture.claim().await;
    let good = fixture.exited(0);
    for report in [
        CompleteRequest { outcome: String::new(), ..good.clone() },
        CompleteRequest { outcome: "{\"exited\":\"1\"}".to_owned(), ..good.clone() },
        CompleteRequest { layer: Some("layer".to_owned()), ..good.clone() },
        CompleteRequest { stood_on: vec![String::new()], ..good.clone() },
        CompleteRequest { reports: Some("x".repeat(5 << 20)), ..good },
    ] {
        let answer = fixture.complete(&claimed.token, report).await;
        assert_refused(answer, ErrorCode::InvalidArgument);
        let (_, steps) = fixture.agent.run(run).await.unwrap();
        assert!(matches!(steps[0].state, StepState::Claimed { .. }));
    }
    let reply = fixture.complete(&claimed.token, fixture.exited(1)).await.unwrap();
    assert_eq!(reply.verdict.as_deref(), Some(GateResult::Failure.as_str()));
}
