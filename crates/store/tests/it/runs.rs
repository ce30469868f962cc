//! Runs: written with their steps, read back whole, ended once, listed in pages.

use std::time::Duration;

use sandgate_domain::{
    GateResult, IsolationLevel, IsolationSummary, RunState, SnapshotId, StepState, TenantId,
    UnsupportedKey,
};
use sandgate_store::RunFilter;
use sandgate_store::{Error, PageRequest};

use crate::fixture::Fixture;

fn isolation() -> IsolationSummary {
    IsolationSummary {
        namespaces: true,
        limits: vec!["memory".to_owned()],
        network: true,
        level: IsolationLevel::Namespaces,
    }
}

#[tokio::test]
async fn a_run_reads_back_as_it_was_written() {
    let fixture = Fixture::new().await;
    let mut run = fixture.run();
    run.base_sha = Some("b".repeat(40));
    run.unsupported = vec![UnsupportedKey {
        key: "preview".to_owned(),
        file: ".sandgate.yaml".to_owned(),
        line: 9,
        column: 1,
        instead: "start it by hand".to_owned(),
    }];
    let runs = fixture.store.runs(&fixture.tenant);
    runs.create(&run, &[]).await.unwrap();
    assert_eq!(runs.get(run.id).await.unwrap(), Some(run.clone()));

    let started_at = fixture.now();
    assert!(runs.start(run.id, &isolation(), started_at).await.unwrap());
    assert!(!runs.start(run.id, &isolation(), started_at).await.unwrap());
    run.state = RunState::Running { started_at };
    run.isolation = Some(isolation());
    assert_eq!(runs.get(run.id).await.unwrap(), Some(run.clone()));

    fixture.clock.advance(Duration::from_secs(1));
    let snapshot = SnapshotId::new(&fixture.ids);
    let now = fixture.now();
    assert!(runs.end(run.id, GateResult::Success, Some(snapshot), now).await.unwrap());
    assert!(!runs.end(run.id, GateResult::Failure, None, now).await.unwrap());
    run.state = RunState::Ended {
        result: GateResult::Success,
        started_at: Some(started_at),
        ended_at: now,
    };
    run.approved_snapshot = Some(snapshot);
    assert_eq!(runs.get(run.id).await.unwrap(), Some(run));
}

#[tokio::test]
async fn a_run_and_its_steps_are_written_together_or_not_at_all() {
    let fixture = Fixture::new().await;
    let run = fixture.run();
    let steps = [
        fixture.step(run.id, "same", StepState::Ready),
        fixture.step(run.id, "same", StepState::Waiting),
    ];
    let runs = fixture.store.runs(&fixture.tenant);
    let error = runs.create(&run, &steps).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(runs.get(run.id).await.unwrap(), None);
    runs.create(&run, &steps[..1]).await.unwrap();
}

#[tokio::test]
async fn pages_hold_every_run_once_though_rows_are_added_between() {
    let fixture = Fixture::new().await;
    let runs = fixture.store.runs(&fixture.tenant);
    let mut wanted = Vec::new();
    for number in 0..7 {
        if number % 3 == 0 {
            fixture.clock.advance(Duration::from_millis(1));
        }
        let run = fixture.run();
        runs.create(&run, &[]).await.unwrap();
        wanted.insert(0, run.id);
    }
    let mut other = fixture.run();
    other.repository_key = "other".to_owned();
    runs.create(&other, &[]).await.unwrap();

    let mut request = PageRequest::first(3);
    let mut found = Vec::new();
    loop {
        let page = runs
            .list(&RunFilter { repository: Some("app".into()), ..RunFilter::default() }, &request)
            .await
            .unwrap();
        found.extend(page.items.iter().map(|run| run.id));
        fixture.clock.advance(Duration::from_millis(1));
        runs.create(&fixture.run(), &[]).await.unwrap();
        let Some(next) = page.next else { break };
        request.after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(found, wanted);
    assert_eq!(runs.latest("other").await.unwrap().unwrap().id, other.id);
    assert_eq!(runs.latest("nothing").await.unwrap(), None);
    assert_eq!(runs.unfinished(100).await.unwrap().len(), 11);
}

#[tokio::test]
async fn a_tenant_never_sees_what_is_of_another() {
    let fixture = Fixture::new().await;
    let (run, steps) = fixture.planned(1).await;
    let stranger: TenantId = "stranger".parse().unwrap();
    let runs = fixture.store.runs(&stranger);
    assert_eq!(runs.get(run.id).await.unwrap(), None);
    assert!(
        runs.list(&RunFilter::default(), &PageRequest::first(9)).await.unwrap().items.is_empty()
    );
    assert!(!runs.end(run.id, GateResult::Error, None, fixture.now()).await.unwrap());
    let steps_of_stranger = fixture.store.steps(&stranger);
    let claim =
        steps_of_stranger.claim(steps[0].id, "stranger", fixture.now(), crate::fixture::LEASE);
    assert_eq!(claim.await.unwrap(), None);
}

#[tokio::test]
async fn hostile_texts_are_held_as_data_or_refused_by_size() {
    let fixture = Fixture::new().await;
    let runs = fixture.store.runs(&fixture.tenant);
    let mut run = fixture.run();
    run.branch = Some("x'); DROP TABLE runs; --\n\u{202e}\0".to_owned());
    runs.create(&run, &[]).await.unwrap();
    let found = runs.get(run.id).await.unwrap().unwrap();
    assert_eq!(found.branch.as_deref(), Some("x'); DROP TABLE runs; --\n\u{202e}\u{fffd}"));

    let mut large = fixture.run();
    large.plan = "x".repeat(5 << 20);
    let error = runs.create(&large, &[]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { field: "plan", .. }), "{error:?}");
}
