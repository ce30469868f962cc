//! Pages: what a person must find on them.

use axum::body::Body;
use axum::http::{Request, header};

use crate::support::{
    DELIVERY, GATE, HOST, LIVE_GATE, LIVE_RUN, PULL, RUN, SHA, SNAPSHOT, Setup, TOKEN, anonymous,
    doors, request, with,
};

#[tokio::test]
async fn the_list_of_runs_shows_results_reasons_and_keeps_its_filter() {
    let doors = doors();
    let page = doors.get("/runs").await.text();
    for text in [
        "Failure",
        "Running",
        "2 of 2 processors are in use",
        "acme/web",
        "2 of 3 passed",
        "feature/cart",
        "1 min ago",
        "running: integration; 2 of 2 processors are in use",
        "5 s so far",
        "unit (node=20)",
        r#"id="rows" data-refresh="3""#,
    ] {
        assert!(page.contains(text), "{text}");
    }
    let ended = doors.get("/runs?result=failure").await.text();
    assert!(ended.contains(r#"id="rows" data-refresh="15""#), "new runs show up by themselves");
    let filtered = doors.get("/runs?result=failure&repo=acme%2Fweb&pageSize=1").await.text();
    assert!(filtered.contains(r#"<option value="failure" selected>"#));
    assert!(filtered.contains(r#"value="acme/web""#));
    assert!(!filtered.contains(LIVE_RUN));
    let paged = doors.get("/runs?repo=acme%2Fweb&pageSize=1").await.text();
    assert!(
        paged.contains(r#"href="/runs?repo=acme%2Fweb&#38;pageSize=1&#38;pageToken=1""#),
        "{paged}"
    );
    assert_eq!(doors.get("/runs?result=x").await.status, 400);
}

#[tokio::test]
async fn a_run_shows_what_failed_and_how_to_get_there() {
    let page = doors().get(&format!("/runs/{RUN}")).await.text();
    let command = format!(
        "sandgate debug &#39;unit (node=20)&#39; --run {RUN} --data-dir &#39;/srv/my data&#39;"
    );
    for text in [
        command.as_str(),
        "src/cart.rs:41",
        "cart::total",
        "11 of 12 passed",
        "exit status 101",
        "no changed path matches docs/**",
        "(does not decide)",
        "(setup)",
        "namespaces level; limits on memory, pids; network policy held",
        ".sandgate.yaml:9:1",
        "start the app in a gate",
        SNAPSHOT,
        SHA,
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("data-events"));
}

#[tokio::test]
async fn a_run_that_goes_on_says_why_it_waits_and_follows_its_events() {
    let doors = doors();
    let page = doors.get(&format!("/runs/{LIVE_RUN}")).await.text();
    assert!(page.contains(&format!(r#"data-events="/api/v1/runs/{LIVE_RUN}/events""#)));
    assert!(page.contains("It waits: 2 of 2 processors are in use"));
    assert!(page.contains("needs integration"));
    let running =
        format!(r#"data-running="/api/v1/gates/{LIVE_GATE}/log" data-title="integration""#);
    assert!(page.contains(&running) && page.contains(r#"id="live-logs""#), "{page}");
    let part = doors.get(&format!("/runs/{LIVE_RUN}/live")).await.text();
    assert!(part.contains("<h1>") && !part.contains("<html"));
}

#[tokio::test]
async fn a_gate_shows_its_output_and_follows_it_while_it_runs() {
    let doors = doors();
    let ended = doors.get(&format!("/gates/{GATE}")).await.text();
    assert!(ended.contains("running 12 tests\ncart::total ... FAILED"), "{ended}");
    assert!(ended.contains("sandgate debug"));
    assert!(!ended.contains("data-follow"));
    let live = doors.get(&format!("/gates/{LIVE_GATE}")).await.text();
    let follow = format!(r#"data-follow="/api/v1/gates/{LIVE_GATE}/log?offset=11""#);
    assert!(live.contains(&follow), "{live}");
    let silent = doors.get("/gates/step_00000000000000000000000000000014").await;
    assert!(silent.text().contains("It wrote nothing."));
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_shown() {
    let doors = doors();
    let long: Vec<u8> =
        (0..100_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    doors.memory.held().logs[0].1 = long;
    let page = doors.get(&format!("/gates/{GATE}")).await.text();
    assert!(page.contains("line 99999") && !page.contains("line 1000\n"));
    assert!(page.contains("KiB are not shown here"), "{}", &page[..3000]);
    assert!(page.len() < 300 << 10);
}

#[tokio::test]
async fn a_held_pull_request_is_approved_with_its_button() {
    let doors = doors();
    let page = doors.get("/pull-requests/pr_8").await.text();
    assert!(page.contains("Held") && page.contains("Action required"));
    assert!(page.contains(&format!(r#"name="sha" value="{SHA}""#)));
    assert!(
        page.contains(&format!("sandgate pr approve 8 --sha {SHA} --repo acme/web --data-dir"))
    );
    let mut press =
        request("POST", "/pull-requests/pr_8/approve", Body::from(format!("sha={SHA}")));
    let media = "application/x-www-form-urlencoded".parse().unwrap();
    press.headers_mut().insert(header::CONTENT_TYPE, media);
    let answer = doors.send(press).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(header::LOCATION)),
        (303, "/pull-requests/pr_8")
    );
    assert!(!doors.get("/pull-requests/pr_8").await.text().contains("Approve"));
}

fn form(path: &str, body: &str) -> Request<Body> {
    let mut press = request("POST", path, Body::from(body.to_owned()));
    let media = "application/x-www-form-urlencoded".parse().unwrap();
    press.headers_mut().insert(header::CONTENT_TYPE, media);
    press
}

#[tokio::test]
async fn a_run_is_cancelled_and_run_again_with_its_buttons() {
    let doors = doors();
    let live = doors.get(&format!("/runs/{LIVE_RUN}")).await.text();
    assert!(live.contains(&format!(r#"action="/runs/{LIVE_RUN}/cancel""#)));
    assert!(!live.contains("/rerun"));
    let pressed = doors.send(form(&format!("/runs/{LIVE_RUN}/cancel"), "")).await;
    let location = pressed.header(header::LOCATION).to_owned();
    assert_eq!((pressed.status.as_u16(), location), (303, format!("/runs/{LIVE_RUN}")));
    let cancelled = doors.get(&format!("/runs/{LIVE_RUN}")).await.text();
    assert!(cancelled.contains("Cancelled") && !cancelled.contains("/cancel"), "{cancelled}");

    let failed = doors.get(&format!("/runs/{RUN}")).await.text();
    assert!(failed.contains("Run again what did not pass") && !failed.contains("/cancel"));
    assert!(failed.contains(">#7 Count the cart right</a>"));
    let pressed = doors.send(form(&format!("/runs/{RUN}/rerun"), "only_failed=true")).await;
    let location = pressed.header(header::LOCATION).to_owned();
    assert_eq!(pressed.status, 303);
    assert!(location.starts_with("/runs/run_") && !location.ends_with(RUN), "{location}");
    assert_eq!(doors.get(&location).await.status, 200);
    for (path, body, status) in [
        (format!("/runs/{RUN}/rerun"), "only_failed=perhaps", 400),
        ("/runs/run_1/cancel".to_owned(), "", 400),
        ("/runs/run_000000000000000000000000000000ff/cancel".to_owned(), "", 404),
    ] {
        let answer = doors.send(form(&path, body)).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.header(header::CONTENT_TYPE).starts_with("text/html"), "{path}");
    }
}

#[tokio::test]
async fn other_sites_press_no_button() {
    let doors = doors();
    let login = anonymous("GET", &format!("/login?token={TOKEN}"), Body::empty());
    let cookie = doors.send(login).await.header(header::SET_COOKIE).to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let own = format!("http://{HOST}");
    for path in [
        format!("/runs/{LIVE_RUN}/cancel"),
        format!("/runs/{RUN}/rerun"),
        format!("/deliveries/{DELIVERY}/redeliver"),
        "/pull-requests/pr_8/approve".to_owned(),
    ] {
        let press = |origin: Option<&str>| {
            let mut request = anonymous("POST", &path, Body::from(format!("sha={SHA}")));
            let media = "application/x-www-form-urlencoded".parse().unwrap();
            request.headers_mut().insert(header::CONTENT_TYPE, media);
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
            if let Some(origin) = origin {
                request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
            }
            request
        };
        for other in [None, Some("http://evil.example"), Some("null"), Some("http://localhost:81")]
        {
            let answer = doors.send(press(other)).await;
            assert_eq!(answer.status, 403, "{path} from {other:?}");
        }
        assert_eq!(doors.get(&path).await.status, 405, "{path}");
        let pressed = doors.send(press(Some(&own))).await;
        assert_eq!(pressed.status, 303, "{path}: {}", pressed.text());
    }
}

#[tokio::test]
async fn snapshots_tell_how_to_enter_them_and_until_when_they_are_kept() {
    let doors = doors();
    let page = doors.get("/snapshots").await.text();
    let command = format!("sandgate debug --snapshot {SNAPSHOT} --data-dir &#39;/srv/my data&#39;");
    for text in ["Debug", "unit (node=20)", "4.0 KiB", "removed by hand", &command] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains(&format!(r#"href="/runs/{RUN}""#)));
    doors.memory.held().snapshots[0].state = "deleted".to_owned();
    let page = doors.get("/snapshots").await.text();
    assert!(page.contains("its files are removed") && !page.contains("sandgate debug"));
    let other = doors.get(&format!("/snapshots?run={LIVE_RUN}")).await.text();
    assert!(other.contains("No snapshot matches."));
    assert_eq!(doors.get("/snapshots?run=x").await.status, 400);
}

#[tokio::test]
async fn sandboxes_link_to_what_they_work_for() {
    let page = doors().get("/sandboxes").await.text();
    for text in ["node-1", "Live", "2 s ago", "data-refresh"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains(&format!(r#"href="/gates/{LIVE_GATE}""#)));
    assert!(page.contains(&format!(r#"href="/runs/{LIVE_RUN}""#)));
}

#[tokio::test]
async fn a_delivery_that_was_ignored_says_why_and_is_looked_at_again() {
    let doors = doors();
    let page = doors.get("/deliveries").await.text();
    for text in ["pull_request", "Ignored", "the repository is not known", DELIVERY] {
        assert!(page.contains(text), "{text}");
    }
    let again = format!("/deliveries/{DELIVERY}/redeliver");
    assert!(page.contains(&format!(r#"action="{again}""#)));
    let pressed = doors.send(form(&again, "")).await;
    assert_eq!((pressed.status.as_u16(), pressed.header(header::LOCATION)), (303, "/deliveries"));
    let page = doors.get("/deliveries").await.text();
    assert!(page.contains("Acted on") && !page.contains("Look at it again"));
    let unknown = doors.send(form("/deliveries/nothing%2Fof%20ours/redeliver", "")).await;
    assert_eq!(unknown.status, 404);
    let refused =
        doors.send(request("POST", "/api/v1/deliveries/x/redeliver", Body::empty())).await;
    refused.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_pull_request_shows_its_checks_and_our_comment() {
    let doors = doors();
    let list = doors.get("/pull-requests").await.text();
    for text in ["Count the cart right", "Held", "Open", "from a fork", "1 h ago"] {
        assert!(list.contains(text), "{text}");
    }
    let page = doors.get(&format!("/pull-requests/{PULL}")).await.text();
    for text in ["sandgate / unit (node=20)", "1 of 3 gates failed", "### ✗ Failure", RUN] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("Approve") && !page.contains("sandgate:acme"));
    assert!(!page.contains("data-refresh") && list.contains(r#"data-refresh="15""#));
    for pull in &mut doors.memory.held().pulls {
        pull.checks.clear();
    }
    let page = doors.get(&format!("/pull-requests/{PULL}")).await.text();
    assert!(page.contains(r#"id="checks" data-refresh="3""#), "{page}");
    assert!(doors.get("/pull-requests").await.text().contains(r#"data-refresh="3""#));
    let held = doors.get("/pull-requests/pr_8").await.text();
    assert!(!held.contains("data-refresh"), "nothing comes before the approval");
}

#[tokio::test]
async fn empty_pages_say_what_to_do_next() {
    let doors = with(Setup::default());
    for path in ["/runs", "/pull-requests"] {
        let page = doors.get(path).await.text();
        assert!(page.contains("sandgate repo add . --name owner/repo --data-dir"), "{path}");
        assert!(page.contains("sandgate pr open --data-dir"), "{path}");
    }
    assert!(doors.get("/runs?repo=x").await.text().contains("Show all runs."));
    let snapshots = doors.get("/snapshots").await.text();
    assert!(snapshots.contains("No snapshots yet.") && snapshots.contains("sandgate pr open"));
    assert!(doors.get("/sandboxes").await.text().contains("No sandbox lives now."));
    let deliveries = doors.get("/deliveries").await.text();
    assert!(deliveries.contains("sandgate repo add . --name owner/repo --data-dir"));
    assert!(!deliveries.contains("Webhooks are refused"));
    let closed = with(Setup { has_secret: false, ..Setup::default() });
    let deliveries = closed.get("/deliveries").await.text();
    assert!(deliveries.contains("Webhooks are refused"), "{deliveries}");
}

#[tokio::test]
async fn without_a_session_pages_say_how_to_get_one() {
    let doors = doors();
    let page = doors.send(anonymous("GET", "/runs", Body::empty())).await;
    assert_eq!(page.status, 401);
    assert!(page.header(header::CONTENT_TYPE).starts_with("text/html"));
    assert!(page.text().contains(r#"<form class="filter" method="post" action="/login">"#));
    let root = Request::get("/").header(header::HOST, HOST).body(Body::empty()).unwrap();
    assert_eq!(doors.send(root).await.status, 401);
}

#[tokio::test]
async fn assets_have_their_types() {
    let doors = doors();
    for (name, media) in [
        ("style.css", "text/css; charset=utf-8"),
        ("live.js", "text/javascript; charset=utf-8"),
        ("marks.svg", "image/svg+xml"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let answer = doors.get(&format!("/assets/{name}")).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::CONTENT_TYPE)), (200, media));
    }
}
