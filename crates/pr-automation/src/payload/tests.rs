//! Tests of the file one level up.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Association, SemanticKey, Trigger};

fn send(event: &str, body: &[u8]) -> Result<Event, Answer> {
    understand_verified("72d3162e-cc78-11e3-81ab-4c9367dc0958", event, body)
}

fn send_json(event: &str, body: &Value) -> Result<Event, Answer> {
    send(event, body.to_string().as_bytes())
}

fn sha(letter: char) -> String {
    letter.to_string().repeat(40)
}

fn pull_request() -> Value {
    json!({
        "action": "synchronize", "number": 12, "before": sha('a'), "after": sha('b'),
        "pull_request": {
            "number": 12, "state": "open", "title": "A title", "draft": true, "merged": false,
            "updated_at": "2024-05-06T07:08:09Z", "author_association": "MEMBER",
            "user": {"login": "alice", "type": "User"},
            "head": {"ref": "topic", "sha": sha('b'), "repo": {"full_name": "Acme/Web"}},
            "base": {"ref": "main", "sha": sha('c'), "repo": {"full_name": "acme/web"}},
        },
        "repository": {"full_name": "acme/web", "default_branch": "main"},
        "sender": {"login": "dependabot[bot]", "type": "Bot"},
    })
}

/// The smallest payload that can be acted on.
fn smallest() -> Value {
    json!({
        "action": "opened",
        "pull_request": {
            "number": 1,
            "head": {"ref": "topic", "sha": sha('b')},
            "base": {"ref": "main"},
        },
        "repository": {"full_name": "o/r"},
    })
}

fn pull_request_of(event: &Event) -> &crate::PullRequestEvent {
    let EventKind::PullRequest(pull) = &event.kind else { panic!("{event:?}") };
    pull
}

/// Event, body, whether it is understood, a word of the reason.
type Row<'a> = (&'a str, Vec<u8>, bool, &'a str);

/// Every row of the table that is decided here.
#[test]
fn the_table_of_answers() {
    let mut two_objects = pull_request().to_string();
    two_objects.push_str("{}");
    let mut other_action = pull_request();
    other_action["action"] = json!("labeled");
    let mut no_action = pull_request();
    no_action.as_object_mut().unwrap().remove("action");
    let mut no_repository = pull_request();
    no_repository["repository"] = Value::Null;
    let tag = json!({"ref": "refs/tags/v1", "after": sha('a'), "repository": {"full_name": "o/r"}});
    let rows: Vec<Row<'_>> = vec![
        ("ping", b"{\"zen\":\"x\"}".to_vec(), true, "ping"),
        ("star", b"{}".to_vec(), true, "star"),
        ("pull_request", other_action.to_string().into(), true, "labeled"),
        ("pull_request", no_action.to_string().into(), true, "no action"),
        ("pull_request", no_repository.to_string().into(), true, "no repository"),
        ("pull_request", b"{}".to_vec(), true, "no repository"),
        ("push", b" {}".to_vec(), true, "no repository"),
        ("push", tag.to_string().into(), true, "branches"),
        ("ping", b"".to_vec(), false, "not JSON"),
        ("ping", b"hello".to_vec(), false, "not JSON"),
        ("ping", b"{\"a\":".to_vec(), false, "not JSON"),
        ("ping", b"\xff\xfe{}".to_vec(), false, "not JSON"),
        ("ping", two_objects.into(), false, "not JSON"),
        ("ping", b"[]".to_vec(), false, "wrong type"),
        ("ping", b"\"{}\"".to_vec(), false, "wrong type"),
        ("ping", b"null".to_vec(), false, "wrong type"),
        ("ping", b"12".to_vec(), false, "wrong type"),
    ];
    for (event, body, is_understood, reason) in rows {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = match send(event, &body) {
            Ok(event) => answer_without_storing(&event).unwrap(),
            Err(answer) => answer,
        };
        let is_ignored = matches!(answer, Answer::Ignored { .. });
        assert_eq!(is_ignored, is_understood, "{shown}: {answer:?}");
        assert!(answer.reason().contains(reason), "{shown}: {answer:?}");
    }
}

#[test]
fn a_body_over_the_limit_is_not_read() {
    let body = vec![b' '; MAX_BODY_BYTES + 1];
    assert_eq!(send("ping", &body), Err(Answer::TooLarge));
    assert!(matches!(send("ping", &body[1..]), Err(Answer::Malformed { .. })));
}

#[test]
fn an_unknown_repository_is_told_how_to_be_added() {
    let unknown = Answer::unknown_repository(&"o/r".parse().unwrap());
    assert!(unknown.reason().contains("sandgate repo add <path> --name o/r"));
}

#[test]
fn headers_are_required_and_bounded() {
    let long = "x".repeat(101);
    for (id, event) in
        [("1", ""), ("", "ping"), ("a b", "ping"), (long.as_str(), "ping"), ("1", "pi\nng")]
    {
        let answer = understand_verified(id, event, b"{}").unwrap_err();
        assert!(matches!(answer, Answer::Malformed { .. }), "{id:?} {event:?}");
    }
}

#[test]
fn a_whole_pull_request_is_read() {
    let event = send_json("pull_request", &pull_request()).unwrap();
    assert_eq!(answer_without_storing(&event), None);
    assert_eq!(event.body_digest.len(), 64);
    let pull = pull_request_of(&event);
    assert_eq!((pull.action, pull.number), (Action::Synchronize, 12));
    assert_eq!(pull.updated_at.unwrap().as_micros(), 1_714_979_289_000_000);
    assert_eq!(pull.head.as_str(), sha('b'));
    assert_eq!(pull.before.as_ref().unwrap().as_str(), sha('a'));
    assert_eq!(pull.association, Some(Association::Insider));
    assert!(pull.is_draft && !pull.is_fork && pull.sender.as_ref().unwrap().is_bot);
    let key = event.semantic_key().unwrap().to_string();
    let expected = format!("acme/web#12@{}:pull_request.synchronize:1714979289000000", sha('b'));
    assert_eq!(key, expected);
}

#[test]
fn only_what_is_used_is_required() {
    let event = send_json("pull_request", &smallest()).unwrap();
    let pull = pull_request_of(&event);
    assert_eq!((pull.number, pull.updated_at, pull.base.clone()), (1, None, None));
    // Nothing says that the head lies in the repository itself: the careful reading counts.
    assert!(pull.is_fork);
    for path in ["number", "head", "base"] {
        let mut without = smallest();
        without["pull_request"].as_object_mut().unwrap().remove(path);
        let answer = send_json("pull_request", &without).unwrap_err();
        assert!(answer.reason().contains(path), "{answer:?}");
    }
    let push =
        json!({"ref": "refs/heads/main", "after": sha('a'), "repository": {"full_name": "o/r"}});
    let event = send_json("push", &push).unwrap();
    let EventKind::Push(push) = &event.kind else { panic!("{event:?}") };
    assert_eq!((push.branch.as_str(), push.before.clone()), ("main", None));
    assert_eq!(event.semantic_key().unwrap().to_string(), format!("o/r:main@{}:push", sha('a')));
}

#[test]
fn forks_are_known_by_the_repository_of_their_head() {
    for (repository, is_fork) in [
        (json!({"full_name": "mallory/web"}), true),
        (Value::Null, true),
        (json!({"full_name": "ACME/web"}), false),
    ] {
        let mut payload = pull_request();
        payload["pull_request"]["head"]["repo"] = repository;
        let event = send_json("pull_request", &payload).unwrap();
        assert_eq!(pull_request_of(&event).is_fork, is_fork, "{payload}");
    }
}

#[test]
fn a_deleted_branch_and_a_new_one_have_no_commit() {
    let mut push = json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": sha('a'),
        "repository": {"full_name": "o/r", "default_branch": "main"},
    });
    let event = send_json("push", &push).unwrap();
    assert!(matches!(&event.kind, EventKind::Push(push) if push.before.is_none()));
    push["after"] = json!("0".repeat(40));
    let event = send_json("push", &push).unwrap();
    assert!(matches!(&event.kind, EventKind::Push(push) if push.after.is_none()));
}

#[test]
fn hostile_values_are_refused_by_field_or_kept_as_data() {
    let long = "x".repeat(4096);
    for (pointer, value) in [
        ("/pull_request/head/ref", json!("a\nb")),
        ("/pull_request/head/ref", json!("a..b")),
        ("/pull_request/head/ref", json!(long)),
        ("/pull_request/base/ref", json!("")),
        ("/pull_request/head/sha", json!("main")),
        ("/pull_request/head/sha", json!("--upload-pack=x")),
        ("/pull_request/head/sha", json!("0".repeat(40))),
        ("/pull_request/head/repo/full_name", json!("../..")),
        ("/repository/full_name", json!("o/../r")),
        ("/pull_request/updated_at", json!("yesterday")),
        ("/pull_request/number", json!(0)),
        ("/pull_request/number", json!(-1)),
        ("/pull_request/number", json!(1e300)),
        ("/pull_request/number", json!(u64::MAX)),
        ("/pull_request/draft", json!("yes")),
        ("/before", json!("zz")),
        ("/repository", json!(5)),
        ("/pull_request", json!("x")),
    ] {
        let mut payload = pull_request();
        payload.as_object_mut().unwrap().remove("number");
        *payload.pointer_mut(pointer).unwrap() = value.clone();
        let answer = send_json("pull_request", &payload).unwrap_err();
        assert!(matches!(answer, Answer::Malformed { .. }), "{pointer} {value}");
        let reason = answer.reason();
        assert!(reason.len() < 600 && !reason.contains('\n'), "{reason}");
    }
    for literal in ["-x", "--help", "$(id)", "`id`", "a'b", "<img>", "\u{202e}x"] {
        let mut payload = pull_request();
        payload["pull_request"]["head"]["ref"] = json!(literal);
        payload["pull_request"]["title"] = json!(long);
        let event = send_json("pull_request", &payload).unwrap();
        let pull = pull_request_of(&event);
        assert_eq!(pull.head_branch.as_str(), literal);
        assert_eq!(pull.title.len(), 256);
    }
}

#[test]
fn deep_nesting_and_repeated_fields_do_no_harm() {
    let deep =
        format!("{{\"x\":{}{},\"repository\":null}}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(send("star", deep.as_bytes()).is_ok());
    let deep = format!("{{\"repository\":{}", "[".repeat(200_000));
    assert!(matches!(send("push", deep.as_bytes()), Err(Answer::Malformed { .. })));
    let twice = r#"{"repository":{"full_name":"o/r"},"repository":{"full_name":"x/y"}}"#;
    assert!(matches!(send("push", twice.as_bytes()), Err(Answer::Malformed { .. })));
    let surrogate =
        r#"{"zen":"\ud800","repository":{"full_name":"o/r","id":99999999999999999999}}"#;
    assert!(send("ping", surrogate.as_bytes()).is_ok());
}

#[test]
fn two_hooks_that_report_the_same_have_one_key() {
    let event = send_json("pull_request", &pull_request()).unwrap();
    let mut other = event.clone();
    other.delivery_id = "another".to_owned();
    assert_eq!(event.semantic_key(), other.semantic_key());
    let mut later = pull_request();
    later["pull_request"]["updated_at"] = json!("2024-05-06T07:08:10Z");
    let later = send_json("pull_request", &later).unwrap().semantic_key();
    assert_ne!(event.semantic_key(), later);
    assert_eq!(Trigger::Approval.to_string(), "approval");
    let none: Option<SemanticKey> = send("ping", b"{}").unwrap().semantic_key();
    assert!(none.is_none());
}

proptest! {
    #[test]
    fn any_body_is_an_answer(body: Vec<u8>, event in "ping|push|pull_request|star") {
        let _ = send(&event, &body);
    }

    /// Breaks a good payload at any place in any way.
    #[test]
    fn any_change_of_a_payload_is_an_answer(place in 0_usize..600, byte: u8, cut: bool) {
        let mut body = pull_request().to_string().into_bytes();
        let place = place % body.len();
        if cut { body.truncate(place) } else { body[place] = byte }
        if let Err(answer) = send("pull_request", &body) {
            let is_malformed = matches!(answer, Answer::Malformed { .. });
            prop_assert!(is_malformed);
        }
    }
}
