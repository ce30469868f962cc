//! Opening: new, existing, shared, newer, damaged, killed.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandgate_domain::{Clock, ErrorCode};
use sandgate_store::{Error, Store};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::fixture::Fixture;

async fn raw(fixture: &Fixture) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(fixture.path());
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn the_file_is_private_and_opens_fast_the_second_time() {
    let fixture = Fixture::new().await;
    let mode = std::fs::metadata(fixture.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fixture.store.close().await;

    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let store = fixture.open_again().await;
        fastest = fastest.min(start.elapsed());
        store.close().await;
    }
    assert!(fastest < Duration::from_millis(20), "opening took {fastest:?} at best");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let clock = sandgate_testkit::MockClock::default();
                Store::open(&path, &clock).await.map(drop)
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let fixture = Fixture::new().await;
    fixture.store.close().await;
    let mut connection = raw(&fixture).await;
    sqlx::query("INSERT INTO schema_versions VALUES (999, 998, 0)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    let error = Store::open(&fixture.path(), &fixture.clock).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 999, minimum: 998, .. }), "{error:?}");
    assert_eq!(error.code(), ErrorCode::Unsupported);
    for word in ["999", "998", "update sandgate", "--data-dir"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_newer_database_that_still_fits_opens() {
    let fixture = Fixture::new().await;
    let mut connection = raw(&fixture).await;
    sqlx::query("INSERT INTO schema_versions VALUES (999, 1, 0)")
        .execute(&mut connection)
        .await
        .unwrap();
    fixture.open_again().await;
}

#[tokio::test]
async fn no_database_and_a_damaged_one_are_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = sandgate_testkit::MockClock::default();
    std::fs::write(&path, "this is a letter, not a database. ".repeat(200)).unwrap();
    let error = Store::open(&path, &clock).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("state.db"), "{error}");

    let fixture = Fixture::new().await;
    fixture.store.close().await;
    let mut bytes = std::fs::read(fixture.path()).unwrap();
    bytes[100..4096].fill(0x5a);
    std::fs::write(fixture.path(), bytes).unwrap();
    let error = Store::open(&fixture.path(), &fixture.clock).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_folder_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/state.db");
    let clock = sandgate_testkit::MockClock::default();
    let error = Store::open(&path, &clock).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("missing/state.db"), "{error}");
    assert_eq!(error.code(), ErrorCode::Internal);
}

#[tokio::test]
async fn what_was_not_committed_is_gone_after_a_kill() {
    let fixture = Fixture::new().await;
    let (run, steps) = fixture.planned(1).await;
    // A copy of the files, taken while a transaction is open, is what a killed process leaves.
    let mut connection = raw(&fixture).await;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("UPDATE steps SET name = 'half done'").execute(&mut *transaction).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(fixture.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let store = Store::open(&copy.path().join("state.db"), &fixture.clock).await.unwrap();
    let found = store.steps(&fixture.tenant).of_run(run.id).await.unwrap();
    assert_eq!(found, steps);
    assert!(fixture.clock.now() >= run.created_at);
}

#[tokio::test]
async fn a_writer_waits_for_one_of_another_process() {
    let fixture = Fixture::new().await;
    let (_, steps) = fixture.planned(1).await;
    let mut connection = raw(&fixture).await;
    let transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let steps_repository = fixture.store.steps(&fixture.tenant);
    let now = fixture.now();
    let claim = steps_repository.claim(steps[0].id, "me", now, crate::fixture::LEASE);
    tokio::pin!(claim);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut claim).await;
    assert!(early.is_err(), "it must wait");
    transaction.commit().await.unwrap();
    assert!(claim.await.unwrap().is_some());
}
