//! The end of a run in which everything passed: the verdict and its snapshot are written together, whoever is lost.

use std::time::Duration;

use sandgate_domain::{GateResult, LayerId, RunId, SnapshotId};
use sandgate_wire::agent::v1::{Assignment, CompleteRequest};
use uuid::Uuid;

use crate::fixture::{Fixture, isolation, new_run, next};

const GATES: &str = "  unit: { run: echo }\n";

fn layer(number: u128) -> LayerId {
    LayerId::from_uuid(Uuid::from_u128(number))
}

fn snapshot() -> SnapshotId {
    SnapshotId::from_uuid(Uuid::from_u128(9))
}

/// Lets the one gate of a run pass, and claims what is left to do.
async fn pass(fixture: &Fixture, only: Option<RunId>) -> Assignment {
    let gate = fixture.try_claim(only, Duration::ZERO).await.unwrap();
    let report = CompleteRequest {
        stood_on: vec![layer(1).to_string(), layer(2).to_string()],
        next: Some(next()),
        ..fixture.exited(0)
    };
    let reply = fixture.complete(&gate.token, report).await.unwrap();
    assert_eq!(reply.verdict, None, "not before its snapshot is made");
    assert_eq!(reply.next.len(), 1);
    let close = reply.next[0].clone();
    assert_eq!(close.kind, "close");
    assert_eq!(close.from_layers, [layer(1).to_string(), layer(2).to_string()]);
    close
}

async fn finish(fixture: &Fixture, close: &Assignment) {
    let made = Some(snapshot().to_string());
    let report = CompleteRequest { snapshot: made, ..fixture.exited(0) };
    let reply = fixture.complete(&close.token, report).await.unwrap();
    assert_eq!(reply.verdict.as_deref(), Some("success"));
}

async fn assert_approved(fixture: &Fixture, run: RunId) {
    let (row, steps) = fixture.agent.run(run).await.unwrap();
    assert_eq!(row.state.result(), Some(GateResult::Success));
    assert_eq!(row.approved_snapshot, Some(snapshot()));
    assert_eq!(steps.len(), 1, "the end of a run is none of its gates");
}

#[tokio::test]
async fn a_success_gets_its_verdict_together_with_its_snapshot() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let close = pass(&fixture, None).await;
    let (row, _) = fixture.agent.run(run).await.unwrap();
    assert_eq!(row.state.result(), None);
    // It is too late to stop it.
    fixture.agent.cancel(run, "not wanted").await.unwrap();
    assert_eq!(fixture.renew(&close.token, Duration::ZERO).await.unwrap().stop, None);
    let (verdict, ()) = tokio::join!(fixture.agent.verdict(run), finish(&fixture, &close));
    assert_eq!(verdict.unwrap(), GateResult::Success);
    assert_approved(&fixture, run).await;
}

#[tokio::test]
async fn another_runner_ends_the_run_of_one_that_was_lost() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let lost = pass(&fixture, None).await;
    fixture.clock.advance(Duration::from_secs(31));
    let close = fixture.claim().await;
    assert_eq!((close.step.as_str(), close.fence), (lost.step.as_str(), 2));
    finish(&fixture, &close).await;
    assert_approved(&fixture, run).await;
}

#[tokio::test]
async fn a_restart_goes_on_with_the_end_of_a_run_of_a_working_tree_too() {
    let fixture = Fixture::new().await;
    let run = fixture.agent.create_run(new_run(GATES, false)).await.unwrap();
    fixture.agent.begin(run, &isolation()).await.unwrap();
    pass(&fixture, Some(run)).await;
    let recovered = fixture.agent.recover(&isolation(), |_| true).await.unwrap();
    assert_eq!((recovered.lost, recovered.ended), (1, 0));
    let other = fixture.agent.create_run(new_run(GATES, false)).await.unwrap();
    // Whoever works on another run only takes it, too: nobody else may come.
    let close = fixture.try_claim(Some(other), Duration::ZERO).await.unwrap();
    assert_eq!(close.run, run.to_string());
    finish(&fixture, &close).await;
    assert_approved(&fixture, run).await;
}

#[tokio::test]
async fn a_lost_attempt_that_does_not_count_leaves_a_success_with_its_snapshot() {
    let fixture = Fixture::new().await;
    let gates = "  unit: { run: echo }\n  lint: { blocking: false, run: echo }\n";
    let run = fixture.run(gates).await;
    let unit = fixture.claim().await;
    assert_eq!(unit.name, "unit");
    let stood_on = vec![layer(1).to_string()];
    let report = CompleteRequest { stood_on, ..fixture.exited(0) };
    fixture.complete(&unit.token, report).await.unwrap();
    for _attempt in 0..3 {
        fixture.claim().await;
        fixture.agent.recover(&isolation(), |_| true).await.unwrap();
    }
    let close = fixture.claim().await;
    assert_eq!((close.kind.as_str(), &close.from_layers), ("close", &vec![layer(1).to_string()]));
    finish(&fixture, &close).await;
    let (row, _) = fixture.agent.run(run).await.unwrap();
    assert_eq!(row.approved_snapshot, Some(snapshot()));
}

#[tokio::test]
async fn a_snapshot_that_can_not_be_made_does_not_keep_the_verdict_for_ever() {
    let fixture = Fixture::new().await;
    let run = fixture.run(GATES).await;
    let mut close = pass(&fixture, None).await;
    for attempt in 1..=5 {
        assert_eq!(close.fence, attempt);
        let reply = fixture.complete(&close.token, fixture.lost()).await.unwrap();
        if attempt == 5 {
            assert_eq!(reply.verdict.as_deref(), Some("success"));
        } else {
            assert_eq!(reply.verdict, None);
            close = fixture.claim().await;
        }
    }
    let (row, _) = fixture.agent.run(run).await.unwrap();
    assert_eq!((row.state.result(), row.approved_snapshot), (Some(GateResult::Success), None));
}
