//! `sandgate dev` from the outside: deliveries, pull requests, and what stays true when it ends in whatever way.

mod admission;
mod answers;
mod harness;
mod interruptions;
mod kills;
mod logging;

use std::time::Duration;

use rustix::process::Signal;
use sandgate_testkit::queries;

use self::harness::{Change, Dev, NAME, SECRET, branch, check, command, words, world_with};
use crate::world::{gate, until, until_within};

const QUICK: &str = "version: 1\ngates:\n  unit: { run: 'cat file.txt; test ! -e broken' }\n";

#[test]
fn a_signed_delivery_becomes_a_run_a_check_and_a_comment() {
    let world = world_with(QUICK);
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    let payload = Change::opened().payload(&world);
    let pull = dev.concluded(1, "success");
    until("the comment", || dev.pull(1).unwrap()["comment"].is_string());
    assert!(words(&pull).contains("`unit`"), "{pull:#}");

    let run = dev.json(&format!("/api/v1/runs/{}", pull["run"].as_str().unwrap()));
    let unit = gate(&run, "unit");
    assert_eq!((&run["state"], &unit["result"]), (&"ended".into(), &"success".into()));
    let log = dev.get(&format!("/api/v1/gates/{}/log", unit["id"].as_str().unwrap()));
    assert!(log.status == 200 && log.body.contains("text"), "{}: {}", log.status, log.body);
    let page = format!("/runs/{}", run["id"].as_str().unwrap());
    assert_ne!(dev.curl(&page, &[]).status, 200, "pages need a login");
    let login = dev.link.strip_prefix(&format!("http://{}", dev.address)).unwrap();
    let jar = world.path("cookies").display().to_string();
    assert_eq!(dev.curl(login, &["--cookie-jar", &jar]).status, 303);
    let shown = dev.curl(&page, &["--cookie", &jar]);
    assert!(shown.status == 200 && shown.body.contains("unit"), "{}", shown.body);

    let again = dev.deliver("one", &payload, SECRET);
    assert_eq!((again.status, again.outcome().as_str()), (202, "duplicate"), "{}", again.body);
    assert_eq!(dev.deliver("two", &payload, "another").status, 401);
    let unknown = dev.deliver("three", &payload.replace(NAME, "acme/other"), SECRET);
    assert_eq!((unknown.status, unknown.outcome().as_str()), (202, "ignored"), "{}", unknown.body);
    let command = "sandgate repo add <path> --name acme/other";
    assert!(unknown.body.contains(command), "{}", unknown.body);
    let large = dev.deliver("four", &" ".repeat(26_214_401), SECRET);
    assert_eq!(large.status, 413, "{}", large.body);
    assert_eq!(world.sql(queries::RUNS).len(), 1);
    dev.stop();
}

#[test]
fn deliveries_are_refused_without_a_secret() {
    let world = world_with(QUICK);
    let dev = Dev::start_with(&world, None);
    let refused = dev.deliver("one", &Change::opened().payload(&world), SECRET);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(dev.stderr().contains("GITHUB_WEBHOOK_SECRET"), "{}", dev.stderr());
    dev.stop();
}

#[test]
fn a_newer_head_supersedes_and_a_closed_pull_request_is_cancelled() {
    let slow = "version: 1\ngates:\n  unit: { run: 'test -e quick || sleep 301' }\n";
    let world = world_with(slow);
    let dev = Dev::start(&world);
    dev.add_repository();
    world.git(&["switch", "--quiet", "topic"]);
    let opened = world.sandgate(&["pr", "open", "-o", "name"]);
    assert_eq!((opened.code, opened.stdout.as_str()), (0, "1\n"), "{}", opened.stderr);
    let first = dev.executing(1, "unit");
    world.write("quick", "");
    world.commit("Be quick");
    let pushed = world.sandgate(&["pr", "push", "1"]);
    assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    let pull = dev.concluded(1, "success");
    assert_ne!(pull["run"], first["id"]);
    let old = format!("/api/v1/runs/{}", first["id"].as_str().unwrap());
    until("the older run to be cancelled", || dev.json(&old)["result"] == "cancellation");
    let shown = world.sandgate(&["pr", "show", "1"]);
    assert!(shown.stdout.contains("success"), "{}", shown.stdout);
    let status = world.sandgate(&["status", "-o", "json"]);
    assert!(status.stdout.contains(pull["run"].as_str().unwrap()), "{}", status.stdout);

    world.git(&["rm", "--quiet", "quick"]);
    world.commit("Be slow");
    assert_eq!(world.sandgate(&["pr", "push", "1"]).code, 0);
    let run = loop {
        let run = dev.executing(1, "unit");
        if run["id"] != pull["run"] {
            break run;
        }
    };
    let closed = world.sandgate(&["pr", "close", "1"]);
    assert_eq!(closed.code, 0, "{}", closed.stderr);
    let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    until("the run to be cancelled", || dev.json(&path)["result"] == "cancellation");
    dev.stop();
}

#[test]
fn a_fork_is_held_until_exactly_its_head_is_approved_and_runs_the_gates_of_the_base() {
    let world = world_with(QUICK);
    let config = "version: 1\ngates:\n  stolen: { run: 'echo stolen' }\n";
    branch(&world, "fork", &[(".sandgate.yaml", config)]);
    let dev = Dev::start(&world);
    dev.add_repository();
    let from_fork = Change { number: 7, branch: "fork", from: "mallory/web", ..Change::opened() };
    dev.announce("one", &from_fork);
    let pull = dev.concluded(7, "action_required");
    assert!(pull["held"] == true && pull["fork"] == true, "{pull:#}");
    assert!(world.sql(queries::RUNS).is_empty());
    let head = pull["headSha"].as_str().unwrap();
    let main = world.git(&["rev-parse", "main"]);
    let wrong = world.sandgate(&["pr", "approve", "7", "--sha", main.trim()]);
    assert_ne!(wrong.code, 0, "{}", wrong.stdout);
    assert!(world.sql(queries::RUNS).is_empty());
    let approved = world.sandgate(&["pr", "approve", "7", "--sha", head]);
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let pull = dev.concluded(7, "success");
    let run = dev.json(&format!("/api/v1/runs/{}", pull["run"].as_str().unwrap()));
    let names: Vec<&str> = run["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| gate["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["unit"]);
    dev.stop();
}

#[test]
fn what_can_not_run_is_said_where_the_author_looks() {
    let world = world_with(QUICK);
    branch(&world, "conflict", &[("file.txt", "theirs\n")]);
    branch(&world, "error", &[(".sandgate.yaml", "version: 1\ngates:\n  unit: { runs: echo }\n")]);
    world.git(&["switch", "--quiet", "--create", "missing"]);
    world.git(&["rm", "--quiet", ".sandgate.yaml"]);
    world.commit("missing");
    world.git(&["switch", "--quiet", "main"]);
    world.write("file.txt", "ours\n");
    world.commit("ours");
    let dev = Dev::start(&world);
    dev.add_repository();
    let cases = [
        (1, "conflict", "file.txt"),
        (2, "error", ".sandgate.yaml:3"),
        (3, "missing", ".sandgate.yaml"),
    ];
    for (number, branch, _) in cases {
        dev.announce(branch, &Change { number, branch, ..Change::opened() });
    }
    for (number, branch, word) in cases {
        let pull = dev.settled(number);
        let deciding = check(&pull, "sandgate");
        println!("{branch}: {} {}", deciding["conclusion"], words(&pull));
        assert_ne!(deciding["conclusion"], "success", "{branch}: {pull:#}");
        assert!(words(&pull).contains(word), "{branch}: {}", words(&pull));
    }
    dev.stop();
}

#[test]
fn one_server_has_the_folder_and_its_port() {
    let world = world_with(QUICK);
    let dev = Dev::start(&world);
    let second = world.finish(command(&world, None));
    assert_ne!(second.code, 0);
    assert!(second.stderr.contains("sandgate dev"), "{}", second.stderr);
    let run = world.sandgate(&["run"]);
    assert_ne!(run.code, 0, "{}", run.stdout);
    assert!(run.stderr.contains("sandgate dev"), "{}", run.stderr);
    let mut taken =
        world.command(["dev", "--listen", &dev.address, "--grpc-listen", "127.0.0.1:0"]);
    taken.arg("--data-dir").arg(world.path("other"));
    let taken = world.finish(taken);
    assert_ne!(taken.code, 0);
    assert!(taken.stderr.contains("--listen"), "{}", taken.stderr);
    dev.stop();
    let run = world.sandgate(&["run"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn snapshots_of_a_server_can_be_debugged_while_it_runs_and_after() {
    let world = world_with(QUICK);
    branch(&world, "broken", &[("broken", "")]);
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change { branch: "broken", ..Change::opened() });
    let pull = dev.concluded(1, "failure");
    let run = pull["run"].as_str().unwrap();
    let debug = || world.sandgate(&["debug", "unit", "--run", run, "--", "cat", "file.txt"]);
    let logs = || world.sandgate(&["logs", "unit", "--run", run]);
    for is_running in [true, false] {
        if !is_running {
            let followed = world.sandgate(&["logs", "unit", "--run", run, "-f"]);
            assert_eq!(followed.stdout, "text\n", "{}", followed.stderr);
            break;
        }
        assert_eq!(debug().stdout, "text\n", "{}", debug().stderr);
        assert_eq!(logs().stdout, "text\n", "{}", logs().stderr);
    }
    dev.stop();
    assert_eq!(debug().stdout, "text\n", "{}", debug().stderr);
    assert_eq!(logs().stdout, "text\n", "{}", logs().stderr);
    assert!(world.sandgate(&["snapshot", "list", "--all"]).stdout.contains("unit"));
    world.assert_clean();
}

#[test]
fn the_demonstration_ends_well_twice_over_one_folder() {
    let world = world_with(QUICK);
    for _ in 0..2 {
        let played = world.start(world.command(["demo", "--once"]));
        let played = played.wait_within(Duration::from_secs(60));
        assert_eq!(played.code, 0, "{}\n{}", played.stdout, played.stderr);
    }
}

#[test]
fn both_signals_stop_it_in_order_and_a_second_one_at_once() {
    let slow = "version: 1\ngates:\n  unit: { run: 'sleep 301' }\n";
    let world = world_with(slow);
    let dev = Dev::start(&world);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    dev.executing(1, "unit");
    dev.signal(Signal::TERM);
    let ended = dev.end_within(Duration::from_secs(10));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    world.assert_clean();

    let dev = Dev::start(&world);
    until_within(Duration::from_secs(30), "the run to go on", || {
        world.processes().iter().any(|process| process.contains("sleep 301"))
    });
    dev.signal(Signal::INT);
    dev.signal(Signal::TERM);
    dev.end_within(Duration::from_secs(5));
    Dev::start(&world).stop();
}
