//! A process that writes is killed at any moment: what it had reported is there, nothing is half there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sandgate_domain::{RunId, StepId, StepState, TenantId};
use sandgate_store::Store;
use sandgate_testkit::MockClock;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::fixture::Fixture;

const STEPS: usize = 5;

#[tokio::test]
async fn what_a_killed_process_reported_is_there_and_whole() {
    let fixture = Fixture::new().await;
    let mut reported = Vec::new();
    for lines in [1, 7, 40] {
        reported.extend(write_until_killed(&fixture.path(), lines));
        let store = Store::open(&fixture.path(), &MockClock::default()).await.unwrap();
        for run in &reported {
            let found = store.runs(&fixture.tenant).get(*run).await.unwrap();
            assert!(found.is_some(), "{run} was reported and is lost");
        }
        for run in store.runs(&fixture.tenant).unfinished(10_000).await.unwrap() {
            let steps = store.steps(&fixture.tenant).of_run(run.id).await.unwrap();
            assert_eq!(steps.len(), STEPS, "{} is half there", run.id);
        }
        assert_eq!(integrity(&fixture.path()).await, "ok");
    }
}

/// Starts a process that writes runs down, reads `lines` of its reports, kills it, and reads what it still said.
fn write_until_killed(path: &Path, lines: usize) -> Vec<RunId> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "kill::writer", "--"])
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reported = Vec::new();
    for line in output.by_ref() {
        // The last line may be cut, and others are of the test harness.
        reported.extend(line.unwrap().parse::<RunId>());
        if reported.len() == lines {
            child.kill().unwrap();
            break;
        }
    }
    reported.extend(output.map_while(Result::ok).filter_map(|line| line.parse::<RunId>().ok()));
    child.wait().unwrap();
    assert!(reported.len() >= lines, "the writer ended by itself");
    reported
}

async fn integrity(path: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
#[ignore = "the process that the test above kills"]
async fn writer() {
    let path = std::env::args().next_back().unwrap();
    let path = Path::new(&path);
    assert!(path.is_absolute(), "run by the test above only");
    let store = Store::open(path, &MockClock::default()).await.unwrap();
    let fixture = Fixture::new().await;
    let tenant = TenantId::default();
    // Ids that no other writer of this test gives out.
    let mut next = u128::from(std::process::id()) << 64;
    let mut uuid = || {
        next += 1;
        uuid::Uuid::from_u128(next)
    };
    loop {
        let mut run = fixture.run();
        run.id = RunId::from_uuid(uuid());
        let steps: Vec<_> = (0..STEPS)
            .map(|number| {
                let mut step = fixture.step(run.id, &format!("gate-{number}"), StepState::Ready);
                step.id = StepId::from_uuid(uuid());
                step
            })
            .collect();
        store.runs(&tenant).create(&run, &steps).await.unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", run.id).unwrap();
        stdout.flush().unwrap();
    }
}
