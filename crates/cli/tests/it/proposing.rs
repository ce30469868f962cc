//! `sandgate pr open|push|close`: what is asked of the server, against recorded answers.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::serving::Server;
use crate::world::World;

/// What was asked: the route, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

fn pull(state: &str) -> Value {
    json!({
        "id": "pr/1", "repo": "acme/web", "number": 1, "title": "Speed \u{1b}[31mup", "author": "you",
        "headSha": "0123456789abcdef0123456789abcdef01234567", "headBranch": "faster",
        "baseSha": "f".repeat(40), "baseBranch": "main", "fork": false, "tier": "member",
        "state": state, "merged": false, "draft": false, "held": false, "generation": 1,
        "checks": [], "comment": null, "run": null, "updatedAt": "2026-11-21T10:00:00Z",
    })
}

/// A world on the branch `main`, and a server that knows its repository.
fn served() -> (World, Server, Asked) {
    let world = World::with_files(&[("file.txt", "text\n")]);
    let asked = Asked::default();
    let path = world.repository();
    let repositories =
        json!({ "items": [{ "name": "acme/web", "path": path, "defaultBranch": "main" }] });
    let note = |asked: &Asked, what: String, body: Value| asked.lock().unwrap().push((what, body));
    let list = || async { Json(json!({ "items": [pull("open")], "nextPageToken": null })) };
    let open = move |State(asked): State<Asked>, Json(body): Json<Value>| async move {
        note(&asked, "open".to_owned(), body);
        (StatusCode::CREATED, Json(pull("open")))
    };
    let change = move |State(asked): State<Asked>,
                       Path((id, verb)): Path<(String, String)>,
                       Json(body): Json<Value>| async move {
        let state = if verb == "close" { "closed" } else { "open" };
        note(&asked, format!("{verb} {id}"), body);
        Json(pull(state))
    };
    let router = Router::new()
        .route("/api/v1/repos", get(|| async { Json(repositories) }))
        .route("/api/v1/pull-requests", get(list).post(open))
        .route("/api/v1/pull-requests/{id}/{verb}", post(change))
        .with_state(Arc::clone(&asked));
    let server = Server::recorded(router);
    server.write_record(&world, std::process::id());
    (world, server, asked)
}

#[test]
fn a_branch_is_proposed_pushed_and_closed() {
    let (world, _server, asked) = served();
    world.git(&["switch", "--quiet", "--create", "faster"]);
    world.write("file.txt", "other\n");
    world.commit("Speed up\n\nBy leaving things out.");
    let opened = world.sandgate(&["pr", "open"]);
    assert_eq!(opened.code, 0, "{}", opened.stderr);
    let expected = "opened acme/web#1 `Speed up`: faster at 0123456789 into main\n\
                    next: sandgate pr show 1\n";
    assert_eq!((opened.stdout.as_str(), opened.stderr.as_str()), ("", expected));
    let folder = world.repository();
    let body = json!({
        "repo": "acme/web", "checkout": folder, "headBranch": "faster", "baseBranch": "main",
        "title": "Speed up",
    });
    assert_eq!(asked.lock().unwrap()[0], ("open".to_owned(), body));

    world.write("file.txt", "not committed\n");
    let opened = world.sandgate(&["pr", "open", "--title", "Mine", "--base", "next", "-o", "name"]);
    assert_eq!(opened.stdout, "1\n");
    assert!(opened.stderr.starts_with("note: changes that are not committed"), "{}", opened.stderr);
    let body = asked.lock().unwrap()[1].1.clone();
    assert_eq!((&body["title"], &body["baseBranch"]), (&"Mine".into(), &"next".into()));

    for (verb, body) in [("push", json!({ "checkout": folder })), ("close", json!({}))] {
        let ended = world.sandgate(&["pr", verb, "1"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let last = asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, (format!("{verb} pr/1"), body));
    }
}

#[test]
fn what_can_not_be_proposed_is_said_before_anything_is_asked() {
    let (world, _server, asked) = served();
    let on_base = world.sandgate(&["pr", "open"]);
    assert_eq!(on_base.code, 2, "{}", on_base.stderr);
    assert!(on_base.stderr.contains("git switch -c <branch>"), "{}", on_base.stderr);
    let missing = world.sandgate(&["pr", "open", "--head", "nowhere"]);
    assert_eq!(missing.code, 5, "{}", missing.stderr);
    assert!(missing.stderr.contains("there is no branch `nowhere`"), "{}", missing.stderr);
    let option = world.sandgate(&["pr", "open", "--head=--output=/tmp/x"]);
    assert_eq!(option.code, 5, "{}", option.stderr);
    world.git(&["checkout", "--quiet", "--detach"]);
    let detached = world.sandgate(&["pr", "open"]);
    assert_eq!(detached.code, 2, "{}", detached.stderr);
    assert!(detached.stderr.contains("no branch is checked out"), "{}", detached.stderr);
    assert!(asked.lock().unwrap().is_empty());
}
