//! What REST answers when all is well.

use axum::body::Body;
use axum::http::header;
use serde_json::json;

use crate::support::{GATE, LIVE_GATE, LIVE_RUN, PULL, RUN, SHA, SNAPSHOT, doors, request};

#[tokio::test]
async fn a_run_has_the_shape_of_the_document_that_run_prints() {
    let run = doors().get(&format!("/api/v1/runs/{RUN}")).await.json();
    for (key, value) in [
        ("id", json!(RUN)),
        ("repo", json!("acme/web")),
        ("sha", json!(SHA)),
        ("dirty", json!(false)),
        ("result", json!("failure")),
        (
            "isolation",
            json!({"namespaces":true,"limits":["memory","pids"],"network":true,"level":"namespaces"}),
        ),
        ("durationMs", json!(30_000)),
        (
            "unsupported",
            json!([{"key":"preview","file":".sandgate.yaml","line":9,"column":1,"instead":"start the app in a gate"}]),
        ),
        ("approvedSnapshot", json!(null)),
        ("debugSnapshots", json!({"unit (node=20)": SNAPSHOT})),
    ] {
        assert_eq!(run[key], value, "{key}");
    }
    let gates = run["gates"].as_array().unwrap();
    let names: Vec<&str> = gates.iter().map(|gate| gate["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["build", "unit (node=20)", "docs"]);
    let unit = &gates[1];
    for (key, value) in [
        ("name", json!("unit (node=20)")),
        ("result", json!("failure")),
        ("attempts", json!(1)),
        ("durationMs", json!(400)),
        ("queueMs", json!(3)),
        ("startMs", json!(4)),
        ("exitCode", json!(101)),
        ("signal", json!(null)),
        ("reason", json!(null)),
        ("snapshot", json!(SNAPSHOT)),
        ("reusedFrom", json!(null)),
        ("cost", json!({"usd":"1.250001"})),
    ] {
        assert_eq!(unit[key], value, "{key}");
    }
    assert_eq!((&unit["reports"]["tests"], &unit["reports"]["failed"]), (&json!(12), &json!(1)));
    assert_eq!(run["setups"][0]["name"], "default");
}

#[tokio::test]
async fn a_run_without_verdict_has_null_results() {
    let run = doors().get(&format!("/api/v1/runs/{LIVE_RUN}")).await.json();
    for key in ["result", "durationMs", "isolation", "approvedSnapshot", "endedAt"] {
        assert_eq!(run[key], json!(null), "{key}");
    }
    assert_eq!(run["gates"][0]["result"], json!(null));
    assert_eq!(run["debugSnapshots"], json!({}));
    assert_eq!(run["waiting"], "2 of 2 processors are in use");
    assert_eq!(run["createdAt"], "2026-11-21T09:59:55Z");
}

#[tokio::test]
async fn lists_filter_and_page() {
    let doors = doors();
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = doors.get("/api/v1/runs").await.json();
    assert_eq!(
        (ids(&all), &all["nextPageToken"]),
        (vec![LIVE_RUN.to_owned(), RUN.to_owned()], &json!(null))
    );
    let first = doors.get("/api/v1/runs?pageSize=1").await.json();
    assert_eq!(ids(&first), [LIVE_RUN]);
    let token = first["nextPageToken"].as_str().unwrap();
    let second = doors.get(&format!("/api/v1/runs?pageSize=1&pageToken={token}")).await.json();
    assert_eq!((ids(&second), &second["nextPageToken"]), (vec![RUN.to_owned()], &json!(null)));
    for (query, expected) in [
        ("repo=acme/web", vec![LIVE_RUN, RUN]),
        ("repo=other", vec![]),
        ("sha=0123", vec![RUN]),
        ("sha=AAAA", vec![LIVE_RUN]),
        ("result=failure", vec![RUN]),
        ("result=", vec![LIVE_RUN, RUN]),
        ("pr=pr_7", vec![RUN]),
        ("pr=7&repo=acme/web", vec![RUN]),
    ] {
        let page = doors.get(&format!("/api/v1/runs?{query}")).await.json();
        assert_eq!(ids(&page), expected, "{query}");
    }
    for (path, count) in [
        ("/api/v1/repos", 1),
        ("/api/v1/pull-requests?state=open", 2),
        ("/api/v1/sandboxes", 1),
        ("/api/v1/snapshots", 1),
        ("/api/v1/deliveries", 1),
    ] {
        assert_eq!(
            doors.get(path).await.json()["items"].as_array().unwrap().len(),
            count,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_run_is_created_once_for_one_key() {
    let doors = doors();
    let create = |key: Option<&'static str>| {
        let body = format!(r#"{{"repo":"acme/web","sha":"{}"}}"#, SHA.to_uppercase());
        let mut request = request("POST", "/api/v1/runs", Body::from(body));
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        }
        request
    };
    let first = doors.send(create(Some("one"))).await;
    assert_eq!(first.status, 201);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(first.header(header::LOCATION), format!("/api/v1/runs/{id}"));
    assert_eq!(first.json()["sha"], SHA);
    let again = doors.send(create(Some("one"))).await;
    assert_eq!((again.status.as_u16(), again.json()["id"].as_str().unwrap()), (200, id.as_str()));
    assert_eq!(doors.send(create(None)).await.status, 201);
    let unknown = r#"{"repo":"no/such","sha":"0123456789abcdef0123456789abcdef01234567"}"#;
    doors.post("/api/v1/runs", unknown).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn runs_are_cancelled_and_run_again() {
    let doors = doors();
    let cancelled = doors.post(&format!("/api/v1/runs/{LIVE_RUN}/cancel"), "").await;
    assert_eq!(
        (cancelled.status.as_u16(), &cancelled.json()["result"]),
        (200, &json!("cancellation"))
    );
    let twice = doors.post(&format!("/api/v1/runs/{LIVE_RUN}/cancel"), "").await;
    twice.assert_problem(409, "conflict");
    let again = doors.post(&format!("/api/v1/runs/{RUN}/rerun"), r#"{"onlyFailed":true}"#).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["waiting"]),
        (201, &json!("only the gates that failed"))
    );
    assert_eq!(doors.post(&format!("/api/v1/runs/{RUN}/rerun"), "").await.status, 201);
}

#[tokio::test]
async fn pull_requests_are_approved_at_one_head() {
    let doors = doors();
    let path = "/api/v1/pull-requests/pr_8/approve";
    let other = format!(r#"{{"sha":"{}"}}"#, "b".repeat(40));
    doors.post(path, &other).await.assert_problem(409, "conflict");
    let approved = doors.post(path, &format!(r#"{{"sha":"{SHA}"}}"#)).await;
    assert_eq!((approved.status.as_u16(), &approved.json()["held"]), (200, &json!(false)));
    let held = doors.memory.held();
    assert_eq!((held.approvals[1].number, held.approvals[1].sha.as_str()), (8, SHA));
}

#[tokio::test]
async fn pull_requests_are_opened_pushed_to_and_closed() {
    let doors = doors();
    let body =
        r#"{"repo":"acme/web","checkout":"/srv/one","headBranch":"topic","title":"A title"}"#;
    let opened = doors.post("/api/v1/pull-requests", body).await;
    assert_eq!(opened.status, 201);
    let opened = opened.json();
    assert_eq!((&opened["title"], &opened["headSha"]), (&json!("A title"), &json!("/srv/one")));
    let path = format!("/api/v1/pull-requests/{}", opened["id"].as_str().unwrap());
    let pushed = doors.post(&format!("{path}/push"), r#"{"checkout":"/srv/two"}"#).await;
    assert_eq!((pushed.status.as_u16(), &pushed.json()["headSha"]), (200, &json!("/srv/two")));
    let closed = doors.post(&format!("{path}/close"), "").await;
    assert_eq!((closed.status.as_u16(), &closed.json()["state"]), (200, &json!("closed")));
    let unknown = r#"{"repo":"acme/web","checkout":"/srv/one","headBranch":"topic","fork":true}"#;
    doors.post("/api/v1/pull-requests", unknown).await.assert_problem(400, "invalid_argument");
}

#[tokio::test]
async fn repositories_and_snapshots_come_and_go() {
    let doors = doors();
    let added = doors.post("/api/v1/repos", r#"{"name":"acme/new","path":"/srv/new"}"#).await;
    assert_eq!((added.status.as_u16(), &added.json()["defaultBranch"]), (201, &json!("main")));
    doors
        .post("/api/v1/repos", r#"{"name":"acme/new","path":"/srv/new"}"#)
        .await
        .assert_problem(409, "conflict");
    let remove = || request("DELETE", "/api/v1/repos/acme/new", Body::empty());
    assert_eq!(doors.send(remove()).await.status, 204);
    doors.send(remove()).await.assert_problem(404, "not_found");
    let snapshot = format!("/api/v1/snapshots/{SNAPSHOT}");
    assert_eq!(doors.get(&snapshot).await.json()["entry"]["directory"], "/work");
    let deleted = doors.send(request("DELETE", &snapshot, Body::empty())).await;
    assert_eq!(deleted.json()["state"], "deleted");
}

#[tokio::test]
async fn a_log_is_sent_byte_for_byte_from_its_offset() {
    let doors = doors();
    let whole = doors.get(&format!("/api/v1/gates/{GATE}/log")).await;
    assert_eq!(whole.header(header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert!(whole.body.starts_with(b"\x1b[1mrunning 12 tests"));
    let rest = doors.get(&format!("/api/v1/gates/{GATE}/log?offset=4")).await;
    assert_eq!(rest.body, whole.body[4..]);
    let beyond = doors.get(&format!("/api/v1/gates/{GATE}/log?offset=999999")).await;
    assert_eq!((beyond.status.as_u16(), beyond.body.len()), (200, 0));
    let live = doors.get(&format!("/api/v1/gates/{LIVE_GATE}/log")).await;
    assert_eq!(live.text(), "installing\n");
}

#[tokio::test]
async fn the_description_names_every_rest_route_and_ourselves() {
    let doors = doors();
    let description = doors.get("/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["title"], "Sandgate");
    let paths = description["paths"].as_object().unwrap();
    let routes: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!((paths.len(), routes), (19, 23));
    assert!(paths.keys().all(|path| path.starts_with("/api/v1/")));
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let run = &description["components"]["schemas"]["Run"]["properties"];
    assert!(run["durationMs"].is_object() && run["gates"].is_object(), "{run}");
}

#[tokio::test]
async fn metrics_count_by_route_and_never_by_path() {
    let doors = doors();
    doors.get(&format!("/api/v1/runs/{RUN}")).await;
    doors.get("/some/invented/path").await;
    let text = doors.get("/metrics").await.text();
    let line =
        r#"sandgate_api_requests_total{method="GET",route="/api/v1/runs/{id}",status="200"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains("sandgate_api_request_duration_seconds_bucket"));
    assert!(text.contains("sandgate_api_open_streams 0"));
    assert!(!text.contains("invented"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn version_and_pull_request_are_answered() {
    let doors = doors();
    assert_eq!(doors.get("/version").await.json()["version"], "1.2.3");
    let pull = doors.get(&format!("/api/v1/pull-requests/{PULL}")).await.json();
    assert_eq!((&pull["number"], &pull["checks"][0]["name"]), (&json!(7), &json!("sandgate")));
}
