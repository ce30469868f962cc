//! Interruptions: a gate that runs on after its command was stopped or killed would be a leak; a run that never ends, a lie.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use sandgate_testkit::queries;

use crate::world::{Started, World, gate, until};

const CONFIG: &str = "version: 1
defaults: { timeout: 5m }
gates:
  quick: { run: echo quick }
  slow: { needs: [quick], run: 'echo begun; sleep 300 & sleep 301' }
  later: { needs: [slow], run: echo never }
";

fn slow_world() -> World {
    World::with_files(&[(".sandgate.yaml", CONFIG)])
}

/// Starts a run and waits until `sleep 301` runs in a sandbox.
fn in_the_middle(world: &World) -> Started {
    let started = world.start(world.command(["run", "--output", "json", "--jobs", "4"]));
    until("the slow command to run", || has_process(world, "sleep 301"));
    assert!(!world.control_groups().is_empty() || !limits_hold(world));
    started
}

fn has_process(world: &World, command: &str) -> bool {
    world.processes().iter().any(|process| process.contains(command))
}

fn limits_hold(world: &World) -> bool {
    world.sandgate(&["doctor"]).stdout.contains("memory")
}

#[test]
fn an_interrupt_stops_everything_and_every_gate_has_a_record() {
    let world = slow_world();
    let started = in_the_middle(&world);
    started.signal(Signal::INT);
    let ended = started.wait();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let run: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(run["result"], "cancellation");
    assert_eq!(gate(&run, "quick")["result"], "success");
    for name in ["slow", "later"] {
        let gate = gate(&run, name);
        assert_eq!(gate["result"], "cancellation", "{gate}");
        assert!(gate["reason"].as_str().unwrap().contains("interrupted"), "{gate}");
    }
    assert_eq!(world.sandgate(&["logs", "slow"]).stdout, "begun\n");
    world.assert_clean();
}

#[test]
fn a_termination_is_an_interrupt() {
    let world = slow_world();
    let started = in_the_middle(&world);
    started.signal(Signal::TERM);
    assert_eq!(started.wait().code, 130);
    world.assert_clean();
}

#[test]
fn a_second_interrupt_quits_at_once_and_the_next_start_tidies_up() {
    let world = slow_world();
    let started = in_the_middle(&world);
    let begin = Instant::now();
    started.signal(Signal::INT);
    started.signal(Signal::INT);
    // Both may arrive as one; a third is the second then.
    until("an interrupted process to end", || {
        let has_ended = std::fs::read_to_string(format!("/proc/{}/stat", started.pid()))
            .is_ok_and(|stat| stat.contains(") Z "));
        if !has_ended && begin.elapsed() > Duration::from_millis(500) {
            started.signal(Signal::INT);
        }
        has_ended
    });
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(started.wait().code, 130);
    until("everything inside to end", || world.processes().is_empty());
    world.write(".sandgate.yaml", "version: 1\ngates: { quick: { run: echo quick } }\n");
    let (ended, _) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    world.assert_clean();
}

#[test]
fn an_interrupt_during_the_setup_leaves_no_layer() {
    let world = World::with_files(&[(
        ".sandgate.yaml",
        "version: 1\nenvironment: { setup: { run: 'sleep 301', inputs: [] } }\n\
         gates: { unit: { run: echo never } }\n",
    )]);
    for _ in 0..2 {
        let started = in_the_middle(&world);
        started.signal(Signal::INT);
        let ended = started.wait();
        assert_eq!(ended.code, 130, "{}", ended.stderr);
        let run: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(run["setup"]["result"], "cancellation", "{run}");
        assert_eq!(gate(&run, "unit")["result"], "cancellation", "{run}");
        world.assert_clean();
    }
}

#[test]
fn nothing_outlives_a_killed_run_and_the_next_start_ends_it() {
    let world = slow_world();
    let started = in_the_middle(&world);
    until("its output to be kept", || world.sandgate(&["logs", "slow"]).stdout == "begun\n");
    started.signal(Signal::KILL);
    started.wait();
    until("everything inside to end", || world.processes().is_empty());
    assert!(!world.entries("node/store/scratch").is_empty(), "the kill came too late");

    // The next start, whatever it is for, sweeps and ends the run.
    world.write(".sandgate.yaml", "version: 1\ngates: { quick: { run: echo quick } }\n");
    let (ended, next) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    world.assert_clean();
    let runs = world.sql(queries::RUNS);
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[0][1], "ended cancellation");
    assert_eq!(runs[1][0], next["id"].as_str().unwrap());
    let mut steps = world.sql(queries::STEPS);
    steps.retain(|step| step[0] == runs[0][0]);
    assert_eq!(steps.len(), 3, "{steps:?}");
    for step in &steps {
        assert_eq!(step[2], "ended", "{steps:?}");
        if step[1] != "quick" {
            assert_eq!(step[3], "cancellation", "{steps:?}");
            assert!(step[4].contains("process"), "{steps:?}");
        }
    }
    assert!(world.sql(queries::LIVE_SANDBOXES).is_empty());
    // What it wrote until then can be read.
    let log = world.sandgate(&["logs", "slow", "--run", &runs[0][0]]);
    assert_eq!(log.stdout, "begun\n", "{}", log.stderr);
}

#[test]
fn a_run_that_is_under_way_is_left_alone_by_other_starts() {
    let world = slow_world();
    let started = in_the_middle(&world);
    let other = World::with_files(&[(
        ".sandgate.yaml",
        "version: 1\ngates: { quick: { run: echo quick } }\n",
    )]);
    let mut command = other.command(["run"]);
    command.env("XDG_STATE_HOME", world.state());
    let ended = other.finish(command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(has_process(&world, "sleep 301"));
    let states = world.sql(queries::RUN_STATES);
    assert_eq!(states, [["running"], ["ended"]]);
    started.signal(Signal::INT);
    assert_eq!(started.wait().code, 130);
    world.assert_clean();
}

#[test]
fn a_killed_setup_does_not_keep_the_next_run_waiting() {
    let slow = "version: 1\nenvironment: { setup: { run: 'echo x >> ran; test -e go || sleep 301', inputs: [go] } }\n\
                gates: { unit: { run: cat ran } }\n";
    let world = World::with_files(&[(".sandgate.yaml", slow)]);
    let started = in_the_middle(&world);
    started.signal(Signal::KILL);
    started.wait();
    until("everything inside to end", || world.processes().is_empty());
    // The same key again: it must be built at once, by a process that ends this time.
    let begin = Instant::now();
    let again = in_the_middle(&world);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    again.signal(Signal::INT);
    assert_eq!(again.wait().code, 130);
    world.write("go", "");
    let (ended, _) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(world.sandgate(&["logs", "unit"]).stdout, "x\n");
    world.assert_clean();
}

#[test]
fn two_runs_at_the_same_time_share_one_setup() {
    let config = "version: 1\nenvironment: { setup: { run: 'cat /proc/sys/kernel/random/uuid > id; sleep 2', inputs: [] } }\n\
                  gates: { unit: { run: cat id } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let start = || world.start(world.command(["run", "--output", "json"]));
    let both = [start(), start()];
    let ended = both.map(Started::wait);
    let mut logs = Vec::new();
    let mut built = 0;
    for ended in &ended {
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let run: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        built += u32::from(run["setup"]["reason"].is_null());
        logs.push(world.sandgate(&["logs", "unit", "--run", run["id"].as_str().unwrap()]).stdout);
    }
    assert_eq!(built, 1);
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0].len(), 37, "{logs:?}");
    world.assert_clean();
}

#[test]
fn a_run_that_waits_for_the_setup_of_another_can_be_interrupted() {
    let config = "version: 1\nenvironment: { setup: { run: 'sleep 301', inputs: [] } }\n\
                  gates: { unit: { run: echo never } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let first = in_the_middle(&world);
    let second = world.start(world.command(["run", "--output", "json"]));
    until("the second run to wait", || second.stderr().contains("setup"));
    second.signal(Signal::INT);
    let ended = second.wait();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let run: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(run["setup"]["result"], "cancellation", "{run}");
    assert!(has_process(&world, "sleep 301"), "the setup of the first run goes on");
    first.signal(Signal::INT);
    assert_eq!(first.wait().code, 130);
    world.assert_clean();
}
