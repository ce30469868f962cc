//! `sandgate run` and `sandgate debug`: one story a test.

use std::os::unix::fs::MetadataExt;

use crate::world::{World, gate};

const CONFIG: &str = "version: 1
fail_fast: off
gates:
  passes:
    run: |
      echo to stdout
      echo to stderr >&2
  fails:
    run: [echo one, 'echo kept > kept.txt; exit 7', echo never]
  after:
    needs: [fails]
    run: echo never
  advice: { run: exit 1, blocking: false }
";

#[test]
fn each_gate_ends_with_its_own_result_and_reason() {
    let world = World::with_files(&[(".sandgate.yaml", CONFIG), ("file.txt", "text\n")]);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(run["result"], "failure");
    assert_eq!(run["dirty"], false);
    assert_eq!(run["isolation"]["level"], "namespaces");
    assert_eq!(gate(&run, "passes")["result"], "success");
    assert_eq!(gate(&run, "fails")["result"], "failure");
    assert_eq!(gate(&run, "fails")["exitCode"], 7);
    assert_eq!(gate(&run, "after")["result"], "skip");
    assert_eq!(gate(&run, "after")["reason"], "needs `fails`, which ended failure");
    assert_eq!(gate(&run, "advice")["result"], "failure");
    assert_eq!(run["approvedSnapshot"], serde_json::Value::Null);

    let log = world.sandgate(&["logs", "passes"]);
    assert_eq!(log.stdout, "to stdout\nto stderr\n");
    assert_eq!(world.sandgate(&["logs", "passes", "--stream", "stderr"]).stdout, "to stderr\n");
    assert_eq!(world.sandgate(&["logs", "fails"]).stdout, "one\n");
    let logs = std::fs::metadata(world.state().join("sandgate/logs")).unwrap();
    assert_eq!(logs.mode() & 0o077, 0, "what gates print is for their user alone");
}

#[test]
fn a_failure_can_be_entered_and_repeated() {
    let world = World::with_files(&[(".sandgate.yaml", CONFIG), ("file.txt", "text\n")]);
    let (_, run) = world.run(&["--gate", "fails"]);
    let snapshot = gate(&run, "fails")["snapshot"].as_str().unwrap().to_owned();
    assert_eq!(run["debugSnapshots"]["fails"], snapshot);

    let inside = world.debug("fails", &["sh", "-c", "pwd; cat kept.txt file.txt; id -u; echo $CI"]);
    assert_eq!(inside.stdout, "/workspace\nkept\ntext\n1000\ntrue\n", "{}", inside.stderr);
    let again =
        world.debug("fails", &["sh", "-c", "rm kept.txt; rerun; echo status $?; cat kept.txt"]);
    assert_eq!(again.stdout, "one\nstatus 7\nkept\n");
    let status = world.debug("fails", &["sh", "-c", "exit 5"]);
    assert_eq!(status.code, 3);
    assert!(status.stderr.contains("status 5"), "{}", status.stderr);
    // What was done inside is gone.
    assert_eq!(world.debug("fails", &["cat", "kept.txt"]).stdout, "kept\n");
    assert!(world.entries("node/store/scratch").is_empty());
    assert!(world.entries("node/sandboxes").is_empty());
}

#[test]
fn snapshots_outlast_a_restart_of_the_machine() {
    let world = World::with_files(&[(".sandgate.yaml", CONFIG), ("file.txt", "text\n")]);
    world.run(&["--gate", "fails"]);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for layer in world.entries("node/store/layers") {
        let record = layer.join("record.json");
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::write(&record, text.replace(boot.trim(), "another")).unwrap();
    }
    let inside = world.debug("fails", &["cat", "kept.txt", "file.txt"]);
    assert_eq!(inside.stdout, "kept\ntext\n", "{}", inside.stderr);
}

#[test]
fn the_working_tree_is_tested_as_it_is_and_a_commit_as_it_was() {
    let config = "version: 1\ngates:\n  show: { run: 'cat file.txt; cat new.txt || true; git status --short' }\n";
    let world = World::with_files(&[
        (".sandgate.yaml", config),
        ("file.txt", "old\n"),
        (".gitignore", "ignored\n"),
    ]);
    world.write("file.txt", "changed\n");
    world.write("new.txt", "untracked\n");
    world.write("ignored", "ignored\n");
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(run["dirty"], true);
    let shown = world.sandgate(&["logs", "show", "--stream", "stdout"]).stdout;
    assert_eq!(shown, "changed\nuntracked\n M file.txt\n?? new.txt\n");

    let (_, run) = world.run(&["--ref", "HEAD"]);
    assert_eq!(run["dirty"], false);
    assert_eq!(world.sandgate(&["logs", "show", "--stream", "stdout"]).stdout, "old\n");
}

#[test]
fn a_success_makes_an_approved_snapshot_that_can_be_entered() {
    let config = "version: 1\napprove_from: build\ngates:\n  build: { run: echo built > product }\n  \
                  unit: { from: build, run: grep built product }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let snapshot = run["approvedSnapshot"].as_str().unwrap();
    let inside = world.sandgate(&["debug", "--snapshot", snapshot, "--", "cat", "product"]);
    assert_eq!(inside.stdout, "built\n", "{}", inside.stderr);

    let listed = world.sandgate(&["snapshot", "list", "-o", "name"]);
    assert_eq!(listed.stdout.trim(), snapshot);
    assert_eq!(world.sandgate(&["snapshot", "delete", snapshot]).code, 0);
    assert_eq!(world.sandgate(&["snapshot", "show", snapshot]).code, 5);
    assert_eq!(world.sandgate(&["snapshot", "list", "-o", "name"]).stdout, "");
}

#[test]
fn the_setup_runs_once_for_the_same_inputs_and_sees_nothing_else() {
    let config = "version: 1
environment:
  setup:
    run: 'find . -type f | sort; cat lock > installed; echo setup-ran'
    inputs: [lock]
gates:
  unit: { run: 'cat installed source' }
";
    let world =
        World::with_files(&[(".sandgate.yaml", config), ("lock", "one\n"), ("source", "a\n")]);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(run["setup"]["reason"], serde_json::Value::Null);
    assert_eq!(world.sandgate(&["logs", "setup"]).stdout, "./lock\nsetup-ran\n");
    assert_eq!(world.sandgate(&["logs", "unit"]).stdout, "one\na\n");

    world.write("source", "b\n");
    let (_, run) = world.run(&[]);
    assert_eq!(run["setup"]["reason"], "its layer was there already");
    assert_eq!(world.sandgate(&["logs", "unit"]).stdout, "one\nb\n");

    world.write("lock", "two\n");
    let (_, run) = world.run(&[]);
    assert_eq!(run["setup"]["reason"], serde_json::Value::Null);
    assert_eq!(world.sandgate(&["logs", "unit"]).stdout, "two\nb\n");
}

#[test]
fn a_failing_setup_is_a_result_with_its_log_and_no_layer() {
    let config = "version: 1\nenvironment: { setup: { run: 'echo broken; exit 4', inputs: [] } }\n\
                  gates: { unit: { run: echo never } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    for _ in 0..2 {
        let (ended, run) = world.run(&[]);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert_eq!(run["setup"]["exitCode"], 4);
        assert!(gate(&run, "unit")["reason"].as_str().unwrap().contains("setup"), "{run}");
        assert_eq!(world.sandgate(&["logs", "setup"]).stdout, "broken\n");
    }
}

#[test]
fn files_of_gates_are_kept_as_long_as_something_stands_on_them() {
    // The gate whose files are approved is the last one to end; nothing needs the files of the other when the run is over.
    let config = "version: 1\napprove_from: pack\ngates:\n  build: { run: echo built > product }\n  \
                  pack: { from: build, run: 'sleep 0.2; cp product package' }\n  \
                  unit: { from: build, run: echo tested > report }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let snapshot = run["approvedSnapshot"].as_str().unwrap();
    let inside = world.sandgate(&["debug", "--snapshot", snapshot, "--", "cat", "package"]);
    assert_eq!(inside.stdout, "built\n", "{}", inside.stderr);
    // The source, and the two gates below the approved files.
    assert_eq!(world.entries("node/store/layers").len(), 3);

    assert_eq!(world.sandgate(&["snapshot", "delete", snapshot]).code, 0);
    // The source may serve the next run; the files of gates can never be found again.
    assert_eq!(world.entries("node/store/layers").len(), 1);
}
