//! The table of `POST /api/webhooks/github`, line by line.

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::stream;
use sandgate_domain::ErrorCode;

use crate::support::{self, Answer, Doors, HOST, SECRET, Setup, with};

const PATH: &str = "/api/webhooks/github";
const MAX_BYTES: usize = 26_214_400;
const GOOD: &str = r#"{"action":"opened","repository":{"full_name":"acme/web"}}"#;

/// The front doors before anything was delivered.
fn doors() -> Doors {
    let doors = support::doors();
    doors.memory.held().deliveries.clear();
    doors
}

fn sign(body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    let tag = ring::hmac::sign(&key, body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

fn delivery(id: &str, event: &str, body: impl Into<Vec<u8>>) -> Request<Body> {
    let body = body.into();
    let signature = sign(&body);
    Request::post(PATH)
        .header(header::HOST, "any.name.at.all")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-github-delivery", id)
        .header("x-github-event", event)
        .header("x-hub-signature-256", signature)
        .body(Body::from(body))
        .unwrap()
}

async fn deliver(doors: &Doors, id: &str, event: &str, body: &str) -> Answer {
    doors.send(delivery(id, event, body)).await
}

fn stored(doors: &Doors) -> usize {
    doors.memory.held().deliveries.len()
}

#[tokio::test]
async fn a_new_delivery_is_queued_and_handed_on_byte_for_byte() {
    let doors = doors();
    let answer = deliver(&doors, "d-1", "pull_request", GOOD).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), serde_json::json!({ "deliveryId": "d-1", "outcome": "queued" }));
    let held = doors.memory.held();
    let (accepted, _) = &held.deliveries[0];
    assert_eq!(accepted.body, GOOD.as_bytes());
    assert_eq!((accepted.delivery_id.as_str(), accepted.event.as_str()), ("d-1", "pull_request"));
}

#[tokio::test]
async fn a_repeated_delivery_is_a_duplicate_unless_the_earlier_one_failed() {
    let doors = doors();
    deliver(&doors, "d-1", "pull_request", GOOD).await;
    let again = deliver(&doors, "d-1", "pull_request", GOOD).await;
    assert_eq!((again.status.as_u16(), &again.json()["outcome"]), (202, &"duplicate".into()));
    doors.memory.held().deliveries[0].1 = "failed";
    let retried = deliver(&doors, "d-1", "pull_request", GOOD).await;
    assert_eq!((retried.status.as_u16(), &retried.json()["outcome"]), (202, &"queued".into()));
}

#[tokio::test]
async fn what_we_do_not_act_on_is_ignored_with_a_reason() {
    let doors = doors();
    for (event, body, reason) in [
        ("ping", r#"{"zen":"x"}"#, "ping"),
        ("star", r#"{"no":"repository"}"#, "no repository"),
        (
            "push",
            r#"{"repository":{"full_name":"other/repo"}}"#,
            "repo add <path> --name other/repo",
        ),
    ] {
        let answer = deliver(&doors, event, event, body).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json()["outcome"], "ignored");
        let stated = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(stated.contains(reason), "{stated}");
    }
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_conflict() {
    let doors = doors();
    deliver(&doors, "d-1", "pull_request", GOOD).await;
    let other = deliver(&doors, "d-1", "pull_request", r#"{"repository":{}}"#).await;
    other.assert_problem(409, "conflict");
}

#[tokio::test]
async fn every_fault_of_the_signature_has_the_same_answer() {
    let doors = doors();
    let good = sign(GOOD.as_bytes());
    let wrong_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"other");
    let tag = ring::hmac::sign(&wrong_key, GOOD.as_bytes());
    let wrong: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let faults: [Vec<String>; 8] = [
        vec![],
        vec![format!("sha256={wrong}")],
        vec![good[..40].to_owned()],
        vec![good.replace("sha256=", "sha1=")],
        vec![good.replace("sha256=", "")],
        vec![good.clone(), good.clone()],
        vec![String::new()],
        vec![format!("{good}00")],
    ];
    let mut bodies = Vec::new();
    for values in faults {
        let mut request = delivery("d-1", "pull_request", GOOD);
        request.headers_mut().remove("x-hub-signature-256");
        for value in &values {
            request.headers_mut().append("x-hub-signature-256", value.parse().unwrap());
        }
        let answer = doors.send(request).await;
        answer.assert_problem(401, "bad_signature");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(stored(&doors), 0);
    let mut upper = delivery("d-1", "pull_request", GOOD);
    let value = format!("sha256={}", good["sha256=".len()..].to_uppercase());
    upper.headers_mut().insert("x-hub-signature-256", value.parse().unwrap());
    assert_eq!(doors.send(upper).await.status, 202);
}

#[tokio::test]
async fn the_signature_is_checked_before_anything_is_parsed() {
    let doors = doors();
    let mut request = delivery("d-1", "pull_request", "not json at all");
    request.headers_mut().insert("x-hub-signature-256", sign(b"other").parse().unwrap());
    request.headers_mut().remove("x-github-delivery");
    doors.send(request).await.assert_problem(401, "bad_signature");
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let doors = doors();
    for body in ["", "{", "nonsense", "[]", "null", "7", "\"text\"", "{} trailing"] {
        deliver(&doors, "d-1", "pull_request", body).await.assert_problem(400, "invalid_argument");
    }
    let bytes = doors.send(delivery("d-1", "push", b"{\"a\":\"\xff\"}".to_vec())).await;
    bytes.assert_problem(400, "invalid_argument");
    let deep = "[".repeat(200_000);
    deliver(&doors, "d-1", "push", &deep).await.assert_problem(400, "invalid_argument");
    assert_eq!(stored(&doors), 0);
}

#[tokio::test]
async fn json_in_a_form_is_understood() {
    let doors = doors();
    let form: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("payload", GOOD).finish();
    let mut request = delivery("d-1", "pull_request", form);
    let media = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, media);
    let answer = doors.send(request).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(doors.memory.held().deliveries[0].0.body, GOOD.as_bytes());
    for bad in ["", "other=1", "payload=%5B%5D", "payload={}&payload={}"] {
        let mut request = delivery("d-2", "pull_request", bad);
        let media = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, media);
        doors.send(request).await.assert_problem(400, "invalid_argument");
    }
}

#[tokio::test]
async fn missing_doubled_and_strange_headers_are_refused() {
    let doors = doors();
    for name in ["x-github-delivery", "x-github-event"] {
        let mut missing = delivery("d-1", "push", GOOD);
        missing.headers_mut().remove(name);
        doors.send(missing).await.assert_problem(400, "invalid_argument");
        let mut doubled = delivery("d-1", "push", GOOD);
        doubled.headers_mut().append(name, "d-1".parse().unwrap());
        doors.send(doubled).await.assert_problem(400, "invalid_argument");
        for value in ["", "a b", &"x".repeat(129)] {
            let mut strange = delivery("d-1", "push", GOOD);
            strange.headers_mut().insert(name, value.parse().unwrap());
            doors.send(strange).await.assert_problem(400, "invalid_argument");
        }
    }
    assert_eq!(stored(&doors), 0);
}

/// JSON of exactly that many bytes.
fn json_of(length: usize) -> Vec<u8> {
    let around = br#"{"repository":{"full_name":"acme/web"},"filler":""}"#;
    let mut body = around[..around.len() - 2].to_vec();
    body.resize(length - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

#[tokio::test]
async fn exactly_25_mib_is_taken_and_one_byte_more_is_not() {
    let doors = doors();
    let largest = doors.send(delivery("d-1", "push", json_of(MAX_BYTES))).await;
    assert_eq!(largest.status, 202, "{}", largest.text());
    let over = doors.send(delivery("d-2", "push", json_of(MAX_BYTES + 1))).await;
    over.assert_problem(413, "payload_too_large");
    assert_eq!(over.header(header::CONNECTION), "close");
}

#[tokio::test]
async fn an_announced_length_over_the_bound_is_refused_without_reading() {
    let doors = doors();
    let untouched =
        stream::poll_fn(|_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> {
            panic!("the body was read")
        });
    let mut request = delivery("d-1", "push", GOOD);
    *request.body_mut() = Body::from_stream(untouched);
    request.headers_mut().insert(header::CONTENT_LENGTH, (MAX_BYTES + 1).into());
    doors.send(request).await.assert_problem(413, "payload_too_large");
}

#[tokio::test]
async fn an_endless_body_is_not_read_on() {
    let doors = doors();
    let mut sent = 0;
    let endless = stream::poll_fn(move |_| {
        sent += 1 << 20;
        assert!(sent <= MAX_BYTES + (2 << 20), "it reads on behind the bound");
        std::task::Poll::Ready(Some(Ok::<_, std::io::Error>(vec![b' '; 1 << 20])))
    });
    let mut request = delivery("d-1", "push", GOOD);
    *request.body_mut() = Body::from_stream(endless);
    doors.send(request).await.assert_problem(413, "payload_too_large");
}

#[tokio::test]
async fn a_broken_connection_is_not_our_fault() {
    let doors = doors();
    let broken = stream::iter([Ok(b"{".to_vec()), Err(std::io::Error::other("reset"))]);
    let mut request = delivery("d-1", "push", GOOD);
    *request.body_mut() = Body::from_stream(broken);
    doors.send(request).await.assert_problem(400, "invalid_argument");
}

#[tokio::test]
async fn what_can_not_be_stored_is_sent_again() {
    let doors = doors();
    for outage in [
        ErrorCode::Unavailable,
        ErrorCode::Internal,
        ErrorCode::DeadlineExceeded,
        ErrorCode::ResourceExhausted,
    ] {
        doors.memory.held().outage = Some(outage);
        let answer = deliver(&doors, "d-1", "pull_request", GOOD).await;
        answer.assert_problem(503, "unavailable");
        assert!(answer.header(header::RETRY_AFTER).parse::<u64>().unwrap() > 0);
        assert!(!answer.text().contains("/var/lib"), "{}", answer.text());
    }
    doors.memory.held().outage = None;
    assert_eq!(deliver(&doors, "d-1", "pull_request", GOOD).await.json()["outcome"], "queued");
}

#[tokio::test]
async fn without_a_secret_the_route_names_the_setting() {
    let doors = with(Setup { has_secret: false, ..Setup::default() });
    let answer = deliver(&doors, "d-1", "pull_request", GOOD).await;
    answer.assert_problem(503, "unavailable");
    assert!(answer.text().contains("GITHUB_WEBHOOK_SECRET"));
    let health = doors.send(get("/api/webhooks/health")).await;
    assert_eq!(health.json()["webhookSecret"], false);
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, HOST).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn health_and_ping_answer_everybody() {
    let doors = doors();
    let health = doors.send(get("/api/webhooks/health")).await;
    assert_eq!((health.status.as_u16(), &health.json()["webhookSecret"]), (200, &true.into()));
    let ping = Request::post("/api/webhooks/github/ping").body(Body::empty()).unwrap();
    assert_eq!(doors.send(ping).await.json()["message"], "pong");
}
