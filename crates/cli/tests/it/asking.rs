//! Commands that ask a running server, against the real front doors.

use std::io::Read;
use std::process::Stdio;

use sandgate_wire::runs::v1::LogChunk;
use serde_json::Value;

use crate::serving::{Server, served};
use crate::support::{LIVE_RUN, RUN, SHA};
use crate::world::World;

/// Checks how a command failed, and that it says what to do next.
fn assert_fails(world: &World, arguments: &[&str], code: i32, parts: &[&str]) {
    let ended = world.sandgate(arguments);
    assert_eq!(ended.code, code, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "", "{arguments:?}");
    for part in parts.iter().chain(&["help: "]) {
        assert!(ended.stderr.contains(part), "{arguments:?}: no `{part}` in: {}", ended.stderr);
    }
}

#[test]
fn without_a_server_the_next_step_is_to_start_one() {
    let world = World::with_files(&[("file.txt", "text\n")]);
    for arguments in [&["status"][..], &["repo", "list"], &["pr", "list"], &["logs", "-f", "unit"]]
    {
        assert_fails(
            &world,
            arguments,
            7,
            &["error[unavailable]", "start one with `sandgate dev`"],
        );
    }
    let gone = Server::recorded(axum::Router::new());
    gone.write_record(&world, std::process::id());
    let address = gone.address.clone();
    let record = gone.hang();
    let next = "start one with `sandgate dev`";
    assert_fails(&world, &["status", "--all"], 7, &[&address, "refused", next]);
    // A record that nobody holds is that of a server that ended, whoever has its process id by now.
    drop(record);
    assert_fails(&world, &["status", "--all"], 7, &["no server of yours runs"]);
}

#[test]
fn the_token_decides_and_something_else_is_no_server() {
    let (world, front) = served();
    let with_token = |token: &str, address: &str| {
        let mut command = world.command(["status", "--all", "-o", "name", "--server", address]);
        command.env("SANDGATE_TOKEN", token);
        world.finish(command)
    };
    let refused = with_token("wrong", &front.server.address);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("error[unauthenticated]"), "{}", refused.stderr);
    assert!(refused.stderr.contains("help: give the server's own folder"), "{}", refused.stderr);
    let unknown = ["status", "--all", "--server", "http://127.0.0.1:1"];
    assert_fails(&world, &unknown, 4, &["there is no token for http://127.0.0.1:1"]);

    let page = Server::recorded(axum::Router::new().fallback(|| async { "<html>hello</html>" }));
    let other = with_token("any", &page.address);
    assert_eq!(other.code, 1, "{}", other.stderr);
    assert!(other.stderr.contains("is no Sandgate"), "{}", other.stderr);
    assert_fails(&world, &["status", "--server", "https://a"], 1, &["ssh -L"]);
    assert_fails(&world, &["status", "--server", "ftp://a"], 2, &["http://"]);
}

#[test]
fn repositories_are_added_listed_and_removed() {
    let (world, front) = served();
    let folder = world.repository();
    let path = folder.to_str().unwrap();
    assert_fails(&world, &["status"], 5, &["does not know the repository", "sandgate repo add"]);
    let added = world.sandgate(&["repo", "add", ".", "--name", "acme/greeting", "-o", "json"]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    let document: Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!((&document["name"], &document["path"]), (&"acme/greeting".into(), &path.into()));
    assert!(document["addedAt"].is_string(), "{document}");
    assert!(added.stderr.contains("next: "), "{}", added.stderr);
    let again = world.sandgate(&["repo", "add", ".", "--name", "acme/greeting"]);
    assert_eq!(again.code, 6, "{}", again.stderr);
    assert_fails(&world, &["repo", "add", "missing", "--name", "a/b"], 2, &["can't be opened"]);

    let listed = world.sandgate(&["repo", "ls"]);
    assert!(listed.stdout.starts_with("NAME"), "{}", listed.stdout);
    assert!(listed.stdout.contains(&format!("acme/greeting  main    {path}")), "{}", listed.stdout);
    assert_eq!(world.sandgate(&["status"]).stderr.lines().next(), Some("there is no run yet"));

    assert_fails(&world, &["repo", "remove", "greeting"], 2, &["owner/repo"]);
    assert_eq!(world.sandgate(&["repo", "remove", "acme/greeting"]).code, 0);
    assert_eq!(world.sandgate(&["repo", "remove", "acme/greeting"]).code, 5);
    let names = world.sandgate(&["repo", "list", "-o", "name"]);
    assert_eq!(names.stdout, "acme/web\n");
    drop(front);
}

#[test]
fn the_status_tells_what_runs_why_it_waits_and_what_failed() {
    let (world, front) = served();
    front.doors.memory.held().repositories[0].path =
        world.repository().join(".git").to_string_lossy().into_owned();
    let shown = world.sandgate(&["status"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(lines[0].starts_with("RUN "), "{}", shown.stdout);
    assert!(lines[1].contains("running"), "{}", shown.stdout);
    assert!(lines[1].ends_with("waits: 2 of 2 processors are in use"), "{}", shown.stdout);
    assert!(lines[2].contains("failure") && lines[2].ends_with("unit (node=20)"), "{}", lines[2]);
    let next = format!("next: sandgate logs -f integration --run {LIVE_RUN}");
    assert_eq!(shown.stderr.trim(), next);

    // The latest run of this repository is the server's.
    assert_eq!(world.sandgate(&["logs", "integration"]).stdout, "installing\n");
    assert_fails(&world, &["logs", "other"], 5, &["this repository has no run yet"]);

    let document: Value =
        serde_json::from_str(&world.sandgate(&["status", "-o", "json", "--limit", "1"]).stdout)
            .unwrap();
    assert_eq!(document["items"][0]["id"], LIVE_RUN);
    assert_eq!(document["items"][0]["isolation"], Value::Null);
    assert_eq!(document["items"].as_array().unwrap().len(), 1);
    let named = world.sandgate(&["status", "--repo", "acme/web", "--pr", "7", "-o", "name"]);
    assert_eq!(named.stdout, format!("{RUN}\n"), "{}", named.stderr);
    assert_fails(&world, &["status", "--repo", "acme/other"], 5, &["it knows: acme/web"]);
    front.doors.memory.held().runs.remove(0);
    let debug = world.sandgate(&["status"]).stderr;
    let expected = format!("next: sandgate debug 'unit (node=20)' --run {RUN} --data-dir ");
    assert!(debug.starts_with(&expected), "{debug}");
}

#[test]
fn pull_requests_are_listed_shown_and_approved() {
    let (world, front) = served();
    let of = ["--repo", "acme/web"];
    let pr = |arguments: &[&str]| world.sandgate(&[&["pr"], arguments, &of].concat());
    let listed = pr(&["list"]);
    assert!(listed.stdout.contains("8       held   action_required"), "{}", listed.stdout);
    assert!(listed.stdout.contains("7       open   failure"), "{}", listed.stdout);
    assert_eq!(pr(&["ls", "--state", "open", "-o", "name"]).stdout, "8\n7\n");
    let shown = pr(&["show", "7"]);
    for part in
        ["acme/web#7", "sandgate / unit (node=20)", "cart::total failed", "### ✗ Failure", RUN]
    {
        assert!(shown.stdout.contains(part), "no `{part}` in {}", shown.stdout);
    }
    let next = format!("next: sandgate logs 'unit (node=20)' --run {RUN}");
    assert!(shown.stderr.contains(&next), "{}", shown.stderr);
    let held = pr(&["show", "8"]);
    let next = format!("next: sandgate pr approve 8 --sha {SHA} --repo acme/web");
    assert!(held.stderr.contains(&next), "{}", held.stderr);

    let other = pr(&["approve", "8", "--sha", &"b".repeat(40)]);
    assert_eq!(other.code, 6, "{}", other.stderr);
    let approved = pr(&["approve", "8", "--sha", SHA, "-o", "json"]);
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let document: Value = serde_json::from_str(&approved.stdout).unwrap();
    assert_eq!((&document["held"], &document["tier"]), (&false.into(), &"fork".into()));
    assert_eq!(front.doors.memory.held().approvals[1].sha, SHA);
    assert_fails(&world, &["pr", "show", "9", "--repo", "acme/web"], 5, &["no pull request 9"]);
    assert_eq!(world.sandgate(&["pr", "show", "0"]).code, 2);
    assert_eq!(world.sandgate(&["pr", "approve", "8"]).code, 2);
}

#[test]
fn a_log_of_the_server_is_printed_as_it_is_or_followed_to_its_end() {
    let (world, front) = served();
    let address = front.server.address.as_str();
    let log = world.sandgate(&["logs", "unit (node=20)", "--run", RUN, "--server", address]);
    assert!(log.stdout.starts_with("\u{1b}[1mrunning 12 tests"), "{}{}", log.stdout, log.stderr);
    // A run that is not one of this machine's own is looked for there.
    let found = world.sandgate(&["logs", "unit (node=20)", "--run", RUN]);
    assert_eq!(found.stdout, log.stdout, "{}", found.stderr);
    assert_fails(
        &world,
        &["logs", "other", "--run", RUN, "--server", address],
        5,
        &["unit (node=20)"],
    );

    let mut command = world.command(["logs", "-f", "integration", "--run", LIVE_RUN]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 11];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"installing\n");
    let reader = front.doors.memory.held().log_readers.remove(0);
    let more = LogChunk {
        offset: 11,
        data: "\u{1b}[32mgrün\u{1b}[0m\n".as_bytes().to_vec().into(),
        stream: 1,
    };
    front.server.wait(reader.send(Ok(more))).unwrap();
    drop(reader);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "grün\n");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("integration ended"), "{stderr}");
}

#[test]
fn with_two_servers_the_user_chooses() {
    let (world, front) = served();
    let other = Server::recorded(axum::Router::new());
    let parent = std::os::unix::process::parent_id();
    other.write_record(&world, parent);
    assert_fails(
        &world,
        &["repo", "list"],
        2,
        &[&front.server.address, &other.address, "--server"],
    );
    let chosen = world.sandgate(&["repo", "list", "--server", &front.server.address, "-o", "name"]);
    assert_eq!(chosen.stdout, "acme/web\n", "{}", chosen.stderr);
    let mut command = world.command(["repo", "list", "-o", "name"]);
    command.env("SANDGATE_SERVER", &front.server.address);
    let named = world.finish(command);
    assert_eq!(named.stdout, "acme/web\n", "{}", named.stderr);
}
