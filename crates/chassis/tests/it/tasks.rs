//! The tasks of a process: what ends too early stops all, and the stop has an order.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use sandgate_chassis::{Error, Shutdown, Stage, Tasks};

use crate::support::{PATIENCE, shutdown};

async fn run(tasks: Tasks) -> Result<(), Error> {
    tokio::time::timeout(PATIENCE, tasks.run()).await.unwrap()
}

/// A task that waits for its turn and writes down when it came.
fn obedient(tasks: &mut Tasks, stage: Stage, stopped: &Arc<Mutex<Vec<Stage>>>) {
    let (watched, stopped) = (tasks.shutdown(stage), Arc::clone(stopped));
    tasks.spawn(stage, "obedient", async move {
        watched.soft.cancelled().await;
        tokio::task::yield_now().await;
        stopped.lock().unwrap().push(stage);
        Ok::<(), Infallible>(())
    });
}

#[tokio::test]
async fn stages_stop_in_order() {
    let shutdown = shutdown();
    let mut tasks = Tasks::new(shutdown.clone());
    let stopped = Arc::default();
    let order = [Stage::Inbound, Stage::Workers, Stage::Relay, Stage::Store, Stage::Telemetry];
    for stage in order.into_iter().rev() {
        obedient(&mut tasks, stage, &stopped);
    }
    shutdown.soft.cancel();
    run(tasks).await.unwrap();
    assert_eq!(*stopped.lock().unwrap(), order);
}

#[tokio::test]
async fn a_task_that_ends_too_early_stops_the_others_and_is_named() {
    type Case = (&'static str, fn(&mut Tasks));
    let cases: [Case; 3] = [
        ("the task `bad` panicked: a bug in 7", |tasks| {
            tasks.spawn(Stage::Workers, "bad", async {
                let seven = 7;
                if seven > 0 {
                    panic!("a bug in {seven}");
                }
                Ok::<(), Infallible>(())
            });
        }),
        ("the task `bad` failed", |tasks| {
            tasks.spawn(Stage::Workers, "bad", async { Err(io::Error::other("no disk")) });
        }),
        ("the task `bad` ended too early", |tasks| {
            tasks.spawn(Stage::Workers, "bad", async { Ok::<(), Infallible>(()) });
        }),
    ];
    for (expected, spawn) in cases {
        let shutdown = shutdown();
        let mut tasks = Tasks::new(shutdown.clone());
        let stopped = Arc::default();
        obedient(&mut tasks, Stage::Store, &stopped);
        spawn(&mut tasks);
        assert_eq!(run(tasks).await.unwrap_err().to_string(), expected);
        assert_eq!(*stopped.lock().unwrap(), [Stage::Store]);
        assert!(shutdown.soft.is_cancelled());
    }
}

#[tokio::test]
async fn the_hard_stop_waits_for_nobody() {
    let Shutdown { soft, hard } = shutdown();
    let mut tasks = Tasks::new(Shutdown { soft: soft.clone(), hard: hard.clone() });
    tasks.spawn(Stage::Workers, "deaf", std::future::pending::<Result<(), Infallible>>());
    soft.cancel();
    hard.cancel();
    run(tasks).await.unwrap();
}
