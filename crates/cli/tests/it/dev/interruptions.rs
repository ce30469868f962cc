//! Kills at moments that were chosen: right after an answer, and in the middle of a gate.

use std::time::Duration;

use rustix::process::Signal;
use sandgate_testkit::queries;

use super::harness::{Change, Dev, world_with};
use crate::world::{World, until_within};

const CONFIG: &str = "version: 1\ndefaults: { retry: { infra: 10 } }\ngates:\n  one: { run: 'sleep 0.5; echo one' }\n  two: { run: 'sleep 0.5; echo two' }\n";

/// Every gate has one accepted result, and the run one verdict.
fn assert_each_ended_once(world: &World, runs: usize) {
    let ended = world.sql(queries::RUNS);
    assert_eq!(ended.len(), runs, "{ended:?}");
    assert!(ended.iter().all(|run| run[1] == "ended success"), "{ended:?}");
    let steps = world.sql(queries::ACCEPTED);
    assert_eq!(steps.len(), runs * 2, "{steps:?}");
    for step in &steps {
        // The name, the result, how often one was accepted, and how often it was executed.
        assert_eq!((step[1].as_str(), step[2].as_str()), ("success", "1"), "{steps:?}");
    }
}

#[test]
fn a_delivery_that_was_accepted_survives_a_kill_at_once() {
    let world = world_with(CONFIG);
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    dev.kill();
    let dev = Dev::start(&world);
    dev.concluded(1, "success");
    assert_each_ended_once(&world, 1);
    dev.stop();
}

#[test]
fn a_kill_in_the_middle_of_a_gate_costs_one_attempt() {
    let world = world_with(
        "version: 1\ngates:\n  one: { run: 'sleep 2; echo one' }\n  two: { run: echo two }\n",
    );
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    dev.executing(1, "one");
    dev.kill();
    let dev = Dev::start(&world);
    dev.concluded(1, "success");
    assert_each_ended_once(&world, 1);
    let attempts: Vec<String> =
        world.sql(queries::ACCEPTED).iter().map(|step| step[3].clone()).collect();
    assert_eq!(attempts[0], "2", "the first gate was executed again");
    dev.stop();
}

#[test]
fn the_demonstration_is_interrupted_in_the_middle_and_leaves_nothing() {
    let world = World::with_files(&[("file.txt", "text\n")]);
    let folder = world.state().join("sandgate");
    let mut command = world.command(["demo", "--data-dir"]);
    command.arg(&folder);
    let played = world.start(command);
    until_within(Duration::from_secs(60), "a gate to be claimed", || {
        assert!(!played.has_ended(), "it ended: {}", played.stderr());
        played.stderr().contains("claimed")
    });
    played.signal(Signal::INT);
    let ended = played.wait_within(Duration::from_secs(15));
    assert_eq!(ended.code, 130, "{}{}", ended.stdout, ended.stderr);
    let records = world.state().join("sandgate/servers");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0, "the record of the server is left");
    world.assert_clean();
}
