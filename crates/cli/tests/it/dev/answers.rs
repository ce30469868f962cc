//! What a terminal is told about a server: exact exit codes and texts, and a log while it is written.

use sandgate_testkit::queries;

use super::harness::{Change, Dev, branch, command, world_with};
use crate::world::until;

const QUICK: &str = "version: 1\ngates:\n  unit: { run: 'cat file.txt' }\n";
/// What `sandgate` ends with when something is taken or has changed.
const CONFLICT: i32 = 6;

#[test]
fn a_taken_port_and_a_taken_folder_are_conflicts_that_say_what_to_do() {
    let world = world_with(QUICK);
    let dev = Dev::start(&world);
    let mut other =
        world.command(["dev", "--listen", &dev.address, "--grpc-listen", "127.0.0.1:0"]);
    other.arg("--data-dir").arg(world.path("other"));
    let taken = world.finish(other);
    let expected = format!(
        "error[conflict]: another program listens on {} already; stop it or give another address with --listen \
         (port 0 takes a free one)\n",
        dev.address
    );
    assert_eq!((taken.code, taken.stderr), (CONFLICT, expected));

    let second = world.finish(command(&world, None));
    let expected = format!(
        "error[conflict]: the folder `{}` is in use by sandgate dev (process {}); stop that first or give another \
         folder with --data-dir\n",
        world.state().join("sandgate").canonicalize().unwrap().display(),
        dev.started().pid()
    );
    assert_eq!((second.code, second.stderr), (CONFLICT, expected));
    dev.stop();
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_left_as_it_is() {
    let world = world_with(QUICK);
    Dev::start(&world).stop();
    world.sql(queries::MAKE_NEWER);
    let before = world.sql(queries::VERSIONS);
    let refused = world.finish(command(&world, None));
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    for word in ["error[unsupported]", "999", "update sandgate", "--data-dir"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_eq!(world.sql(queries::VERSIONS), before);
    world.assert_clean();
}

#[test]
fn an_approval_of_a_head_that_has_moved_is_a_conflict_that_names_the_new_one() {
    let world = world_with(QUICK);
    branch(&world, "fork", &[("first.txt", "")]);
    let dev = Dev::start(&world);
    dev.add_repository();
    let opened = Change { number: 7, branch: "fork", from: "mallory/web", ..Change::opened() };
    dev.announce("one", &opened);
    let looked_at = dev.concluded(7, "action_required");
    let looked_at = looked_at["headSha"].as_str().unwrap();
    world.git(&["switch", "--quiet", "fork"]);
    world.write("second.txt", "");
    let moved = world.commit("moved");
    world.git(&["switch", "--quiet", "main"]);
    dev.announce("two", &Change { action: "synchronize", second: 1, ..opened });
    until("the new head", || dev.pull(7).unwrap()["headSha"] == moved.as_str());

    let refused = world.sandgate(&["pr", "approve", "7", "--sha", looked_at]);
    assert_eq!(refused.code, CONFLICT, "{}", refused.stderr);
    let expected =
        format!("the head is {moved} by now, not {looked_at}: look at it and approve that one");
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    assert!(world.sql(queries::RUNS).is_empty());
    dev.stop();
}

#[test]
fn a_log_is_followed_while_its_gate_runs_and_ends_with_it() {
    let world =
        world_with("version: 1\ngates:\n  unit: { run: 'echo begun; sleep 2; echo ended' }\n");
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    let run = dev.executing(1, "unit");
    let run = run["id"].as_str().unwrap();
    let following = world.start(world.command(["logs", "unit", "--run", run, "-f"]));
    until("what is written so far", || following.stdout().starts_with("begun\n"));
    assert_eq!(following.stdout(), "begun\n", "the gate still runs");
    let ended = following.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "begun\nended\n"), "{}", ended.stderr);
    dev.concluded(1, "success");
    dev.stop();
}
