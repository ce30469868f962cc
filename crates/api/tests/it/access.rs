//! Who gets in: every route with every kind of caller.

use axum::body::Body;
use axum::http::{Request, header};

use crate::support::{
    DELIVERY, GATE, HOST, LIVE_RUN, PULL, RUN, SNAPSHOT, Setup, TOKEN, anonymous, doors, request,
    with,
};

/// Method, path, and whether a caller without a token gets an answer.
const ROUTES: &[(&str, &str, bool)] = &[
    ("GET", "/livez", true),
    ("GET", "/readyz", true),
    ("GET", "/version", true),
    ("GET", "/metrics", true),
    ("GET", "/openapi.json", false),
    ("GET", "/login", true),
    ("GET", "/assets/{name}", true),
    ("GET", "/", false),
    ("GET", "/runs", false),
    ("GET", "/runs/{id}", false),
    ("GET", "/runs/{id}/live", false),
    ("POST", "/runs/{id}/cancel", false),
    ("POST", "/runs/{id}/rerun", false),
    ("GET", "/gates/{id}", false),
    ("GET", "/snapshots", false),
    ("GET", "/sandboxes", false),
    ("GET", "/deliveries", false),
    ("POST", "/deliveries/{id}/redeliver", false),
    ("GET", "/pull-requests", false),
    ("GET", "/pull-requests/{id}", false),
    ("POST", "/pull-requests/{id}/approve", false),
    ("POST", "/api/webhooks/github/ping", true),
    ("GET", "/api/webhooks/health", true),
    ("GET", "/api/v1/repos", false),
    ("POST", "/api/v1/repos", false),
    ("DELETE", "/api/v1/repos/{owner}/{name}", false),
    ("GET", "/api/v1/pull-requests", false),
    ("POST", "/api/v1/pull-requests", false),
    ("GET", "/api/v1/pull-requests/{id}", false),
    ("POST", "/api/v1/pull-requests/{id}/push", false),
    ("POST", "/api/v1/pull-requests/{id}/close", false),
    ("POST", "/api/v1/pull-requests/{id}/approve", false),
    ("GET", "/api/v1/runs", false),
    ("POST", "/api/v1/runs", false),
    ("GET", "/api/v1/runs/{id}", false),
    ("POST", "/api/v1/runs/{id}/cancel", false),
    ("POST", "/api/v1/runs/{id}/rerun", false),
    ("GET", "/api/v1/runs/{id}/events", false),
    ("GET", "/api/v1/gates/{id}", false),
    ("GET", "/api/v1/gates/{id}/log", false),
    ("GET", "/api/v1/sandboxes", false),
    ("GET", "/api/v1/snapshots", false),
    ("GET", "/api/v1/snapshots/{id}", false),
    ("DELETE", "/api/v1/snapshots/{id}", false),
    ("GET", "/api/v1/deliveries", false),
    ("POST", "/api/v1/deliveries/{id}/redeliver", false),
    // These two decide by themselves: a token in a form, and a signature.
    ("POST", "/login", false),
    ("POST", "/api/webhooks/github", false),
];

/// All paths that the router knows, as it prints itself.
fn router_paths(router: &axum::Router) -> Vec<String> {
    let printed = format!("{router:?}");
    let mut paths: Vec<String> = printed
        .split("RouteId(")
        .filter_map(|piece| piece.split_once("): \"")?.1.split_once('"'))
        .map(|(path, _)| path.to_owned())
        .filter(|path| !path.contains("axum_fallback"))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn every_route_of_the_router_is_in_the_matrix() {
    let doors = doors();
    let found = router_paths(&doors.router);
    let mut listed: Vec<String> = ROUTES.iter().map(|(_, path, _)| (*path).to_owned()).collect();
    listed.sort();
    listed.dedup();
    assert_eq!(found, listed);
}

#[tokio::test]
async fn a_route_without_an_entry_would_be_closed() {
    // The guard refuses what its table does not name, so each of these answers shows that its entry exists.
    let doors = doors();
    for (method, path, _) in ROUTES {
        let answer = doors.send(request(method, &concrete(path), Body::empty())).await;
        assert!(!answer.text().contains("nobody is allowed"), "{method} {path}");
        assert_ne!(answer.status, 405, "{method} {path}");
    }
}

fn concrete(path: &str) -> String {
    let id = match path {
        _ if path.contains("/gates/") => GATE,
        _ if path.contains("/snapshots/") => SNAPSHOT,
        _ if path.contains("/pull-requests/") => PULL,
        _ if path.contains("/deliveries/") => DELIVERY,
        _ if path.contains("/assets/") => "style.css",
        _ => RUN,
    };
    path.replace("{id}", id)
        .replace("{owner}", "acme")
        .replace("{name}", if path.contains("assets") { id } else { "web" })
}

#[tokio::test]
async fn without_or_with_a_wrong_token_only_open_routes_answer() {
    let doors = doors();
    let wrong_values = [
        None,
        Some(format!("Bearer {}", TOKEN.replace('0', "1"))),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
        Some("Bearer".to_owned()),
        Some(String::new()),
    ];
    for (method, path, is_open) in ROUTES {
        for value in &wrong_values {
            let mut request = anonymous(method, &concrete(path), Body::empty());
            if let Some(value) = value {
                request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            let answer = doors.send(request).await;
            let name = format!("{method} {path} with {value:?}");
            if *is_open {
                assert!(answer.status.is_success(), "{name}: {}", answer.status);
            } else if *path == "/login" {
                answer_is_login_refusal(&answer, &name);
            } else {
                assert_eq!(answer.status, 401, "{name}");
            }
        }
    }
    let held = doors.memory.held();
    assert!(held.approvals.is_empty());
    assert_eq!((held.repositories.len(), held.runs.len()), (1, 2));
    assert_eq!(held.snapshots[0].state, "local");
}

fn answer_is_login_refusal(answer: &crate::support::Answer, name: &str) {
    assert_eq!(answer.status, 403, "{name}: a form without an origin is not ours");
    assert!(answer.headers.get(header::SET_COOKIE).is_none());
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let doors = doors();
    let mut request = request("GET", "/api/v1/runs", Body::empty());
    let second = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().append(header::AUTHORIZATION, second);
    doors.send(request).await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn with_the_token_every_route_answers() {
    for (method, path, _) in ROUTES {
        if matches!(*path, "/login" | "/api/webhooks/github") {
            continue;
        }
        let doors = doors();
        let path = concrete(path);
        let body = match (*method, path.as_str()) {
            ("POST", "/api/v1/runs") => {
                r#"{"repo":"acme/web","sha":"0123456789abcdef0123456789abcdef01234567"}"#
            }
            ("POST", "/api/v1/repos") => r#"{"name":"acme/new","path":"/srv/new"}"#,
            ("POST", "/api/v1/pull-requests") => {
                r#"{"repo":"acme/web","checkout":"/srv/web","headBranch":"topic"}"#
            }
            ("POST", path) if path.ends_with("/push") => r#"{"checkout":"/srv/web"}"#,
            ("POST", path) if path.starts_with("/api/v1/pull") => {
                r#"{"sha":"0123456789abcdef0123456789abcdef01234567"}"#
            }
            ("POST", path) if path.starts_with("/pull") => {
                "sha=0123456789abcdef0123456789abcdef01234567"
            }
            ("POST", path) if path.starts_with("/runs") => "only_failed=true",
            _ => "",
        };
        let path = path.replace(&format!("{RUN}/cancel"), &format!("{LIVE_RUN}/cancel"));
        let mut request = request(method, &path, Body::from(body));
        let media = if body.starts_with("sha=") || body.starts_with("only_failed=") {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        request.headers_mut().insert(header::CONTENT_TYPE, media.parse().unwrap());
        let answer = doors.send(request).await;
        let is_good = answer.status.is_success() || answer.status == 303;
        assert!(is_good, "{method} {path}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn a_login_link_becomes_a_session_and_leaves_the_address() {
    let doors = doors();
    let link = anonymous("GET", &format!("/login?token={TOKEN}"), Body::empty());
    let answer = doors.send(link).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::LOCATION)), (303, "/runs"));
    let cookie = answer.header(header::SET_COOKIE);
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let session = cookie.split(';').next().unwrap();

    let mut page = anonymous("GET", "/runs", Body::empty());
    let cookies = format!("other=1; {session}; more=2");
    page.headers_mut().insert(header::COOKIE, cookies.parse().unwrap());
    assert_eq!(doors.send(page).await.status, 200);

    let cancel = format!("/api/v1/runs/{LIVE_RUN}/cancel");
    for (origin, status) in [
        (None, 403),
        (Some("http://evil.example"), 403),
        (Some("null"), 403),
        (Some("http://localhost:8080"), 200),
    ] {
        let mut change = anonymous("POST", &cancel, Body::empty());
        change.headers_mut().insert(header::COOKIE, session.parse().unwrap());
        if let Some(origin) = origin {
            change.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        }
        assert_eq!(doors.send(change).await.status, status, "{origin:?}");
    }
}

#[tokio::test]
async fn a_wrong_login_gives_no_session() {
    let doors = doors();
    for query in ["?token=", "?token=x", &format!("?token={}", TOKEN.to_uppercase())] {
        let answer = doors.send(anonymous("GET", &format!("/login{query}"), Body::empty())).await;
        assert_eq!(answer.status, 401, "{query}");
        assert!(answer.headers.get(header::SET_COOKIE).is_none());
    }
    let post = |origin: &str, token: &str| {
        Request::post("/login")
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("token={token}")))
            .unwrap()
    };
    assert_eq!(doors.send(post("http://localhost:8080", TOKEN)).await.status, 303);
    assert_eq!(doors.send(post("http://localhost:8080", "no")).await.status, 401);
    assert_eq!(doors.send(post("http://evil.example", TOKEN)).await.status, 403);
}

#[tokio::test]
async fn a_forged_session_is_refused() {
    let doors = doors();
    for value in [
        "sandgate_session_8080=",
        "sandgate_session_8080=1",
        &format!("sandgate_session_8080={TOKEN}"),
    ] {
        let mut request = anonymous("GET", "/api/v1/runs", Body::empty());
        request.headers_mut().insert(header::COOKIE, value.parse().unwrap());
        assert_eq!(doors.send(request).await.status, 401, "{value}");
    }
}

#[tokio::test]
async fn other_names_are_refused_even_with_the_token() {
    let doors = doors();
    for host in ["evil.example", "localhost:9", "localhost", "127.0.0.1:8080@evil.example"] {
        for path in ["/runs", "/api/v1/runs", "/metrics", "/login", "/openapi.json"] {
            let mut request = request("GET", path, Body::empty());
            request.headers_mut().insert(header::HOST, host.parse().unwrap());
            assert_eq!(doors.send(request).await.status, 403, "{host} {path}");
        }
    }
    let mut named = request("GET", "/api/v1/runs", Body::empty());
    named.headers_mut().insert(header::HOST, "gates.example.com".parse().unwrap());
    assert_eq!(doors.send(named).await.status, 200);
}

#[tokio::test]
async fn metrics_need_the_token_where_others_can_reach_us() {
    let doors = with(Setup { bound: "0.0.0.0:8080", ..Setup::default() });
    let on_name = |mut request: Request<Body>| {
        request.headers_mut().insert(header::HOST, "gates.example.com".parse().unwrap());
        request
    };
    let without = doors.send(on_name(anonymous("GET", "/metrics", Body::empty()))).await;
    assert_eq!(without.status, 401);
    let with_token = doors.send(on_name(request("GET", "/metrics", Body::empty()))).await;
    assert_eq!(with_token.status, 200);
}

#[tokio::test]
async fn head_is_as_guarded_as_get() {
    let doors = doors();
    assert_eq!(doors.send(anonymous("HEAD", "/api/v1/runs", Body::empty())).await.status, 401);
    assert_eq!(doors.send(request("HEAD", "/api/v1/runs", Body::empty())).await.status, 200);
}

#[tokio::test]
async fn every_answer_forbids_foreign_scripts_and_frames() {
    let doors = doors();
    for path in ["/livez", "/runs", "/nowhere", "/api/v1/runs", "/assets/live.js"] {
        let answer = doors.get(path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'self';"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
    }
}
