//! Bad input: always a problem with a stable code, never a 500, never bare text.

use axum::body::Body;
use axum::http::{Request, header};
use proptest::prelude::*;
use sandgate_domain::ErrorCode;

use crate::support::{Answer, GATE, LIVE_RUN, RUN, doors, request};

#[tokio::test]
async fn bad_paths_queries_and_methods_are_problems() {
    let doors = doors();
    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        ("/api/v1/nowhere", 404, "not_found"),
        ("/api/v1/runs/", 404, "not_found"),
        ("/api/v1/runs/run_1", 400, "invalid_argument"),
        ("/api/v1/runs/%ff", 400, "invalid_argument"),
        ("/api/v1/gates/run_00000000000000000000000000000001", 400, "invalid_argument"),
        ("/api/v1/runs/run_000000000000000000000000000000ff", 404, "not_found"),
        ("/api/v1/pull-requests/none", 404, "not_found"),
        ("/api/v1/runs?pageSize=0", 400, "invalid_argument"),
        ("/api/v1/runs?pageSize=201", 400, "invalid_argument"),
        ("/api/v1/runs?pageSize=-1", 400, "invalid_argument"),
        ("/api/v1/runs?pageSize=x", 400, "invalid_argument"),
        ("/api/v1/runs?pageToken=x", 400, "invalid_argument"),
        ("/api/v1/runs?result=great", 400, "invalid_argument"),
        ("/api/v1/runs?sha=zzzz", 400, "invalid_argument"),
        ("/api/v1/runs?sha=abc", 400, "invalid_argument"),
        ("/api/v1/runs?pr=7", 400, "invalid_argument"),
        ("/api/v1/runs?repo=a&repo=b", 400, "invalid_argument"),
        ("/api/v1/runs?unknown=1", 400, "invalid_argument"),
        ("/api/v1/repos?unknown=1", 400, "invalid_argument"),
        ("/api/v1/pull-requests?state=new", 400, "invalid_argument"),
        ("/api/v1/snapshots?run=x", 400, "invalid_argument"),
        ("/assets/../Cargo.toml", 404, "not_found"),
        ("/assets/%2e%2e%2fCargo.toml", 404, "not_found"),
    ] {
        let answer = doors.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        answer.assert_problem(status, code);
    }
    let long = doors.get(&format!("/api/v1/runs?repo={}", "x".repeat(2000))).await;
    long.assert_problem(400, "invalid_argument");
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB"] {
        let answer = doors.send(request(method, "/api/v1/runs", Body::empty())).await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header(header::ALLOW), "GET, POST");
    }
}

#[tokio::test]
async fn bad_bodies_are_problems() {
    let doors = doors();
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"repo":"acme/web"}"#,
        r#"{"repo":7,"sha":"a"}"#,
        r#"{"repo":"acme/web","sha":"abc"}"#,
        r#"{"repo":"acme/web","sha":"0123456789abcdef0123456789abcdef01234567","more":1}"#,
        r#"{"repo":"","sha":"0123456789abcdef0123456789abcdef01234567"}"#,
    ] {
        doors.post("/api/v1/runs", body).await.assert_problem(400, "invalid_argument");
    }
    let big = format!("{{\"repo\":\"{}\"}}", "x".repeat(2 << 20));
    doors.post("/api/v1/runs", &big).await.assert_problem(413, "payload_too_large");
    let untyped = doors.send(request("POST", "/api/v1/runs", Body::from("{}"))).await;
    untyped.assert_problem(415, "unsupported_media_type");
    let rerun = format!("/api/v1/runs/{RUN}/rerun");
    let untyped = doors.send(request("POST", &rerun, Body::from("{}"))).await;
    untyped.assert_problem(415, "unsupported_media_type");
    doors.post(&rerun, r#"{"only":1}"#).await.assert_problem(400, "invalid_argument");
    let mut keyed = request(
        "POST",
        "/api/v1/runs",
        Body::from(r#"{"repo":"acme/web","sha":"0123456789abcdef0123456789abcdef01234567"}"#),
    );
    keyed.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    keyed.headers_mut().insert("idempotency-key", "x".repeat(300).parse().unwrap());
    doors.send(keyed).await.assert_problem(400, "invalid_argument");
    let mut events = request("GET", &format!("/api/v1/runs/{RUN}/events"), Body::empty());
    events.headers_mut().insert("last-event-id", "x".parse().unwrap());
    doors.send(events).await.assert_problem(400, "invalid_argument");
}

#[tokio::test]
async fn errors_of_services_keep_their_code() {
    let doors = doors();
    for (code, status) in [
        (ErrorCode::InvalidArgument, 400),
        (ErrorCode::PermissionDenied, 403),
        (ErrorCode::NotFound, 404),
        (ErrorCode::Conflict, 409),
        (ErrorCode::ResourceExhausted, 429),
        (ErrorCode::Internal, 500),
        (ErrorCode::Unsupported, 501),
        (ErrorCode::Unavailable, 503),
        (ErrorCode::DeadlineExceeded, 504),
    ] {
        doors.memory.held().outage = Some(code);
        let answer = doors.get("/api/v1/runs").await;
        answer.assert_problem(status, code.as_str());
        assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), matches!(status, 429 | 503));
        assert_eq!(answer.text().contains("/var/lib"), code != ErrorCode::Internal);
        let page = doors.get("/runs").await;
        assert_eq!(page.status, status);
        assert!(page.header(header::CONTENT_TYPE).starts_with("text/html"));
    }
    doors.memory.held().outage = Some(ErrorCode::Unavailable);
    let ready = doors.get("/readyz").await;
    ready.assert_problem(503, "unavailable");
    assert!(!ready.text().contains("/var/lib"));
    assert_eq!(doors.get("/livez").await.status, 200);
}

#[tokio::test]
async fn something_unreadable_from_a_service_is_our_fault() {
    let doors = doors();
    doors.memory.held().runs[1].isolation = Some("{".to_owned());
    let answer = doors.get(&format!("/api/v1/runs/{RUN}")).await;
    answer.assert_problem(500, "internal");
}

fn assert_calm(answer: &Answer, what: &str) {
    assert!(!answer.status.is_server_error(), "{what}: {} {}", answer.status, answer.text());
    if answer.status.is_client_error()
        && !answer.header(header::CONTENT_TYPE).starts_with("text/html")
    {
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/problem+json", "{what}");
        assert!(answer.json()["code"].is_string(), "{what}");
    }
}

const PREFIXES: [&str; 18] = [
    "/",
    "/api/v1/runs",
    "/api/v1/runs/",
    "/api/v1/gates/",
    "/api/v1/pull-requests",
    "/api/v1/pull-requests/",
    "/api/v1/snapshots",
    "/api/v1/sandboxes",
    "/api/v1/deliveries",
    "/runs",
    "/runs/",
    "/snapshots",
    "/sandboxes",
    "/deliveries",
    "/deliveries/",
    "/gates/",
    "/pull-requests/",
    "/assets/",
];

fn path_text() -> impl Strategy<Value = String> {
    let encoded = proptest::collection::vec(any::<u8>(), 0..24)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>());
    prop_oneof![encoded, "[a-zA-Z0-9._~/-]{0,40}", Just(RUN.to_owned()), Just(GATE.to_owned())]
}

fn query_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("repo"),
        Just("sha"),
        Just("pr"),
        Just("result"),
        Just("pageSize"),
        Just("pageToken"),
        Just("offset"),
        Just("state"),
        Just("run"),
        Just("token"),
        Just("x"),
    ];
    let value = prop_oneof!["[a-z0-9%&=+._-]{0,20}", Just("18446744073709551616".to_owned())];
    proptest::collection::vec((name, value), 0..4).prop_map(|pairs| {
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_path_or_query_is_our_fault(
        prefix in proptest::sample::select(&PREFIXES[..]),
        path in path_text(),
        query in query_text(),
        method in proptest::sample::select(&["GET", "POST", "DELETE", "PUT", "HEAD"][..]),
    ) {
        let address = format!("{prefix}{path}?{query}");
        let Ok(uri) = address.parse::<axum::http::Uri>() else { return Ok(()) };
        block_on(async {
            let doors = doors();
            let mut request = request(method, "/", Body::empty());
            *request.uri_mut() = uri;
            let answer = doors.send(request).await;
            if method != "HEAD" {
                assert_calm(&answer, &address);
            }
        });
    }

    #[test]
    fn no_body_is_our_fault(
        path in proptest::sample::select(&["/api/v1/runs", "/api/v1/repos", "/login",
            "/api/v1/pull-requests", "/api/v1/pull-requests/pr_8/push", "/api/v1/pull-requests/pr_8/close",
            "/api/v1/pull-requests/pr_8/approve", "/pull-requests/pr_8/approve",
            "/api/v1/runs/run_00000000000000000000000000000002/rerun", "/api/webhooks/github"][..]),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[{}\\[\\]\":,a-z0-9]{0,60}".prop_map(String::into_bytes),
            r#"\{"(repo|sha|name|path|onlyFailed|checkout|headBranch)":("[^"\\]{0,40}"|[0-9]{1,20}|null|true)\}"#.prop_map(String::into_bytes),
        ],
        media in proptest::sample::select(&["application/json", "application/x-www-form-urlencoded", "text/plain"][..]),
    ) {
        block_on(async {
            let doors = doors();
            let mut request = request("POST", path, Body::from(body.clone()));
            request.headers_mut().insert(header::CONTENT_TYPE, media.parse().unwrap());
            request.headers_mut().insert(header::ORIGIN, "http://localhost:8080".parse().unwrap());
            assert_calm(&doors.send(request).await, path);
        });
    }

    #[test]
    fn no_header_is_our_fault(
        name in proptest::sample::select(&["last-event-id", "accept", "cookie", "authorization", "origin",
            "host", "idempotency-key", "content-length", "content-type", "range"][..]),
        value in proptest::collection::vec(any::<u8>(), 0..40),
        path in proptest::sample::select(&["/api/v1/runs", "/runs", "/readyz",
            "/api/v1/gates/step_00000000000000000000000000000011/log"][..]),
    ) {
        let Ok(value) = axum::http::HeaderValue::from_bytes(&value) else { return Ok(()) };
        block_on(async {
            let doors = doors();
            let mut request = request("GET", path, Body::empty());
            request.headers_mut().insert(name, value);
            let answer = tokio::time::timeout(std::time::Duration::from_secs(10), doors.send(request)).await;
            assert_calm(&answer.unwrap(), path);
        });
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let doors = doors();
    let bare = Request::get("/api/v1/runs").body(Body::empty()).unwrap();
    doors.send(bare).await.assert_problem(403, "host_not_allowed");
    assert_eq!(doors.get(&format!("/api/v1/runs/{LIVE_RUN}")).await.status, 200);
}
