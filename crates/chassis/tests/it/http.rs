//! The HTTP listener: both protocol versions, slow and silent clients, too many of them, and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sandgate_chassis::{Listener, ServerLimits};
use sandgate_domain::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

use crate::support::{PATIENCE, exchange, limits, listener, rest, serve};

const CLOSING: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const KEEPING: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn http_1_is_answered_and_the_soft_stop_ends_it() {
    let served = serve(hello(), limits());
    let answer = exchange(&mut served.connect().await, CLOSING).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    served.shutdown.soft.cancel();
    let address = served.address;
    served.ends().await;
    Listener::bind(address, "--listen").expect("the port is free again");
}

#[tokio::test]
async fn http_2_is_answered_without_tls() {
    let served = serve(hello(), limits());
    let io = hyper_util::rt::TokioIo::new(served.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{}/", served.address))
        .body(http_body_util::Empty::<axum::body::Bytes>::new())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.version(), hyper::Version::HTTP_2);
    assert_eq!(answer.status(), 200);
    drop(client);
    connection.await.unwrap().unwrap();
    served.shutdown.soft.cancel();
    served.ends().await;
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_flag_that_changes_it() {
    let first = listener();
    let error = Listener::bind(first.address(), "--listen").unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    let text = error.to_string();
    assert!(text.contains(&first.address().to_string()) && text.contains("--listen"), "{text}");
}

#[tokio::test]
async fn clients_that_never_finish_a_request_head_are_dropped() {
    let head = Duration::from_millis(200);
    for beginning in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n\r\n"] {
        let served = serve(hello(), ServerLimits { head, ..limits() });
        let mut stream = served.connect().await;
        let started = tokio::time::Instant::now();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(started.elapsed() >= head / 2, "{beginning:?}: dropped at once");
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_arrives_drop_by_drop_is_cut_off() {
    let served = serve(hello(), ServerLimits { head: Duration::from_millis(300), ..limits() });
    let (mut reading, mut writing) = served.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        writing.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut drops = tokio::time::interval(Duration::from_millis(20));
        loop {
            drops.tick().await;
            if writing.write_all(b"X: y\r\n").await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the drops kept the connection open");
    dripping.abort();
}

#[tokio::test]
async fn a_connection_without_traffic_is_dropped() {
    let router = Router::new().route("/", get(std::future::pending::<&str>));
    let served = serve(router, ServerLimits { idle: Duration::from_millis(200), ..limits() });
    assert_eq!(exchange(&mut served.connect().await, KEEPING).await, "");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let served = serve(hello(), limits());
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(70 * 1024));
    let answer = exchange(&mut served.connect().await, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let allowed =
        format!("GET / HTTP/1.1\r\nConnection: close\r\nX: {}\r\n\r\n", "y".repeat(50 * 1024));
    let answer = exchange(&mut served.connect().await, allowed.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn clients_over_the_limit_wait_for_their_turn() {
    let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let handler = {
        let (entered, gate) = (Arc::clone(&entered), Arc::clone(&gate));
        move || async move {
            entered.add_permits(1);
            gate.notified().await;
            "done"
        }
    };
    let router = Router::new().route("/", get(handler));
    let served = serve(router, ServerLimits { connections: 1, ..limits() });
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    first.write_all(CLOSING).await.unwrap();
    second.write_all(CLOSING).await.unwrap();
    entered.acquire().await.unwrap().forget();
    assert_eq!(entered.available_permits(), 0, "only one is served");
    gate.notify_one();
    assert!(rest(&mut first).await.ends_with("done"));
    entered.acquire().await.unwrap().forget();
    gate.notify_one();
    assert!(rest(&mut second).await.ends_with("done"));
}

#[tokio::test]
async fn the_soft_stop_lets_a_request_finish_and_the_hard_stop_does_not() {
    for hard in [false, true] {
        let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (entered, gate) = (Arc::clone(&entered), Arc::clone(&gate));
            move || async move {
                entered.notify_one();
                gate.notified().await;
                "finished"
            }
        };
        let served = serve(Router::new().route("/", get(handler)), limits());
        let mut stream = served.connect().await;
        stream.write_all(KEEPING).await.unwrap();
        entered.notified().await;
        served.shutdown.soft.cancel();
        if hard {
            served.shutdown.hard.cancel();
        } else {
            gate.notify_one();
        }
        let answer = rest(&mut stream).await;
        assert_eq!(answer.ends_with("finished"), !hard, "{answer}");
        served.ends().await;
    }
}

#[tokio::test]
async fn the_soft_stop_is_bounded() {
    let entered = Arc::new(Notify::new());
    let heard = Arc::clone(&entered);
    let handler = move || async move {
        heard.notify_one();
        std::future::pending::<&str>().await
    };
    let limits = ServerLimits { drain: Duration::from_millis(100), ..limits() };
    let served = serve(Router::new().route("/", get(handler)), limits);
    let mut stream = served.connect().await;
    stream.write_all(KEEPING).await.unwrap();
    entered.notified().await;
    served.shutdown.soft.cancel();
    served.ends().await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_request_that_panics_costs_only_its_own_connection() {
    async fn explode() -> &'static str {
        panic!("a bug")
    }
    let served = serve(hello().route("/panic", get(explode)), limits());
    let panicking = b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(exchange(&mut served.connect().await, panicking).await, "");
    let answer = exchange(&mut served.connect().await, CLOSING).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let refuse = axum::routing::post(|| async { axum::http::StatusCode::PAYLOAD_TOO_LARGE });
    let served = serve(Router::new().route("/", refuse), limits());
    for _ in 0..20 {
        let mut stream = served.connect().await;
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stream.write_all(&vec![b' '; 8 << 20]).await.expect("it is taken, and thrown away");
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    served.shutdown.soft.cancel();
    served.ends().await;
}
