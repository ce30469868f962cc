//! Deliveries: the table of answers, any order, after a restart, and after a kill between the answer and the events.

use sandgate_domain::ErrorCode;
use sandgate_wire::error_code;
use sandgate_wire::pulls::v1::{AcceptReply, ListDeliveriesRequest};
use serde_json::{Value, json};
use tonic::Status;

use crate::service::{NAME, Place, payload, sha};

fn outcome(reply: Result<AcceptReply, Status>) -> String {
    match reply {
        Ok(reply) => reply.outcome,
        Err(status) => error_code(&status).as_str().to_owned(),
    }
}

fn push(branch: &str, after: char) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": sha('0'), "after": sha(after),
        "repository": {"full_name": NAME, "default_branch": "main"},
        "sender": {"login": "alice", "type": "User"},
    })
}

#[tokio::test]
async fn every_row_of_the_table() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    let opened = payload(1, "opened", 'a', 1);
    let edited = payload(1, "edited", 'a', 2);
    let mut nameless = payload(1, "opened", 'a', 3);
    nameless.as_object_mut().unwrap().remove("repository");
    let mut renamed = payload(1, "opened", 'a', 1);
    renamed["pull_request"]["title"] = json!("Another title");
    let mut headless = payload(1, "opened", 'a', 1);
    headless["pull_request"].as_object_mut().unwrap().remove("head");
    for (id, event, body, expected) in [
        ("1", "pull_request", &opened, "queued"),
        ("1", "pull_request", &opened, "duplicate"),
        ("1", "pull_request", &renamed, "conflict"),
        ("2", "pull_request", &opened, "duplicate"),
        ("3", "ping", &json!({"zen": "x"}), "ignored"),
        ("3", "ping", &json!({"zen": "x"}), "ignored"),
        ("3", "ping", &json!({"zen": "y"}), "conflict"),
        ("4", "pull_request", &edited, "ignored"),
        ("5", "issues", &edited, "ignored"),
        ("6", "pull_request", &nameless, "ignored"),
        ("7", "pull_request", &headless, "invalid_argument"),
        ("8", "pull_request", &json!([]), "invalid_argument"),
        ("9", "push", &push("topic", 'b'), "ignored"),
        ("10", "push", &push("main", 'b'), "queued"),
        ("11", "push", &push("main", 'b'), "duplicate"),
        ("", "push", &push("main", 'b'), "invalid_argument"),
    ] {
        let reply = service.accept(id, event, body).await;
        assert_eq!(outcome(reply), expected, "{id} {event} {body}");
    }
    let (name, data) = service.next_event().await;
    assert_eq!(name, "pr.opened");
    let pull = service.get(1).await;
    assert_eq!(
        data,
        json!({
            "repository": NAME, "pullRequest": pull.id, "number": 1, "revision": 1,
            "headSha": sha('a'), "headBranch": "topic", "baseSha": sha('f'), "baseBranch": "main",
            "tier": "member", "trigger": "pull_request.opened", "held": false, "open": true,
            "merged": false,
        })
    );
    let (name, data) = service.next_event().await;
    assert_eq!((name.as_str(), &data["headSha"]), ("branch.pushed", &json!(sha('b'))));
    assert!(service.events().await.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn an_unknown_repository_is_told_how_to_add_it_and_taken_once_it_is_known() {
    let place = Place::new();
    let service = place.start().await;
    let body = payload(1, "opened", 'a', 1);
    let reply = service.accept("1", "pull_request", &body).await.unwrap();
    let reason = reply.reason.unwrap();
    assert_eq!(reply.outcome, "ignored");
    assert!(reason.contains("sandgate repo add") && reason.contains(NAME), "{reason}");
    place.repository(&service).await;
    service.deliver("1", &body).await;
    assert_eq!(service.next_event().await.0, "pr.opened");
    service.stop().await;
}

#[tokio::test]
async fn deliveries_are_listed_in_pages_the_newest_first() {
    let place = Place::new();
    let service = place.open().await;
    for id in ["1", "2", "3"] {
        service.accept(id, "ping", &json!({})).await.unwrap();
    }
    let mut found = Vec::new();
    let mut page_token = None;
    loop {
        let request = ListDeliveriesRequest { page_size: 2, page_token };
        let page = service.pulls().list_deliveries(request).await.unwrap().into_inner();
        found.extend(page.deliveries.into_iter().map(|delivery| (delivery.id, delivery.outcome)));
        page_token = page.next_page_token;
        if page_token.is_none() {
            break;
        }
    }
    let expected = ["3", "2", "1"].map(|id| (id.to_owned(), "ignored".to_owned()));
    assert_eq!(found, expected);
    let request = ListDeliveriesRequest { page_size: 2, page_token: Some("x".to_owned()) };
    let refused = service.pulls().list_deliveries(request).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidArgument);
    service.kill().await;
}

/// All orders of a few items.
fn orders(items: Vec<usize>) -> Vec<Vec<usize>> {
    if items.len() < 2 {
        return vec![items];
    }
    let mut all = Vec::new();
    for (place, first) in items.iter().enumerate() {
        let mut rest = items.clone();
        rest.remove(place);
        all.extend(orders(rest).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

#[tokio::test]
async fn any_order_of_deliveries_ends_in_the_same_state() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    let orders = orders(vec![0, 1, 2, 3]);
    assert_eq!(orders.len(), 24);
    for (number, order) in (1..).zip(&orders) {
        let mut moved = payload(number, "synchronize", 'b', 2);
        (moved["before"], moved["after"]) = (json!(sha('a')), json!(sha('b')));
        let deliveries = [
            payload(number, "opened", 'a', 1),
            moved,
            payload(number, "closed", 'b', 3),
            payload(number, "reopened", 'b', 4),
        ];
        for index in order {
            let id = format!("{number}-{index}");
            service.deliver(&id, &deliveries[*index]).await;
            let again = service.accept(&id, "pull_request", &deliveries[*index]).await.unwrap();
            assert_eq!(again.outcome, "duplicate");
        }
        let pull = service.get(number).await;
        let state = (pull.state.as_str(), pull.held, pull.head_sha.as_str(), pull.tier.as_str());
        assert_eq!(state, ("open", false, sha('b').as_str(), "member"), "{order:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn what_was_taken_is_known_after_a_restart() {
    let place = Place::new();
    let service = place.start().await;
    place.repository(&service).await;
    let body = payload(1, "opened", 'a', 1);
    service.deliver("1", &body).await;
    assert_eq!(service.next_event().await.0, "pr.opened");
    let before = service.get(1).await;
    service.stop().await;

    let service = place.start().await;
    assert_eq!(outcome(service.accept("1", "pull_request", &body).await), "duplicate");
    assert_eq!(outcome(service.accept("2", "pull_request", &body).await), "duplicate");
    assert_eq!(service.get(1).await, before);
    service.deliver("3", &payload(1, "closed", 'a', 2)).await;
    // The run that the first one asked for never came: a start says so again.
    let mut names: Vec<String> = Vec::new();
    while !names.iter().any(|name| name == "pr.closed") {
        names.push(service.next_event().await.0);
    }
    assert!(names.iter().all(|name| name != "pr.opened"), "{names:?}");
    assert!(names.contains(&"pr.superseded".to_owned()), "{names:?}");
    service.stop().await;
}

#[tokio::test]
async fn killed_after_the_answer_the_events_go_out_at_the_next_start() {
    let place = Place::new();
    let service = place.open().await;
    place.repository(&service).await;
    service.deliver("1", &payload(1, "opened", 'a', 1)).await;
    assert!(service.events().await.is_empty());
    service.kill().await;

    let service = place.start().await;
    let (name, data) = service.next_event().await;
    assert_eq!((name.as_str(), &data["revision"]), ("pr.opened", &json!(1)));
    service.stop().await;
}

#[tokio::test]
async fn an_ignored_delivery_is_acted_on_once_it_is_looked_at_again() {
    let place = Place::new();
    let service = place.start().await;
    let body = payload(1, "opened", 'a', 1);
    let ignored = service.accept("1", "pull_request", &body).await.unwrap();
    assert_eq!(ignored.outcome, "ignored");
    assert_eq!(service.redeliver("1").await.unwrap().outcome, "ignored");
    place.repository(&service).await;
    assert_eq!(service.redeliver("1").await.unwrap().outcome, "queued");
    assert_eq!(service.next_event().await.0, "pr.opened");
    assert_eq!(service.redeliver("1").await.unwrap().outcome, "duplicate");
    assert!(service.events().await.is_empty());
    let unknown = service.redeliver("2").await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    service.stop().await;
}
