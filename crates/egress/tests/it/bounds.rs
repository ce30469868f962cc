//! Limits in time, number and size, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandgate_egress::Limits;
use tokio::task::JoinSet;

use crate::support::{Client, Running, accept, server, until, within};

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let proxy = Running::open_with("127.0.0.1:9".parse().unwrap(), limits);
    let mut slow = proxy.client().await;
    slow.send(b"GET http://example.com/ HTTP/1.1\r\nX-Slow: ").await;
    let started = tokio::time::Instant::now();
    let dripping = async {
        use tokio::io::AsyncWriteExt;
        while slow.0.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(dripping).await;
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());

    let mut silent = proxy.client().await;
    assert_eq!(silent.rest().await, "");

    let mut quiet_after_an_answer = proxy.client().await;
    quiet_after_an_answer.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let answer = quiet_after_an_answer.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let proxy = Running::open_to(&[]);
    for head in [
        format!("GET http://example.com/{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        format!("GET http://example.com/ HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000)),
        format!("GET http://example.com/ HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(300)),
        "a".repeat(1_000_000),
    ] {
        let mut client = proxy.client().await;
        // The proxy may close before all of it is sent.
        let _cut_off = tokio::io::AsyncWriteExt::write_all(&mut client.0, head.as_bytes()).await;
        let answer = client.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(proxy.proxy.usage().bytes_up, 0);
    }
}

#[tokio::test]
async fn three_hundred_clients_at_once_are_all_served_within_the_places() {
    const PLACES: usize = 64;
    let (listener, address) = server().await;
    let most = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&most);
    let echo = tokio::spawn(async move {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            let mut outside = accept(&listener).await;
            let now_open = open.fetch_add(1, Ordering::SeqCst) + 1;
            counted.fetch_max(now_open, Ordering::SeqCst);
            let open = Arc::clone(&open);
            tokio::spawn(async move {
                let line = outside.until("\n").await;
                open.fetch_sub(1, Ordering::SeqCst);
                outside.send(line.as_bytes()).await;
            });
        }
    });
    let limits = Limits { connections: PLACES, ..Limits::default() };
    let proxy = Arc::new(Running::open_with(address, limits));
    let mut clients = JoinSet::new();
    for number in 0..300 {
        let proxy = Arc::clone(&proxy);
        clients.spawn(async move {
            let mut client = proxy.client().await;
            let head = client.connect(address).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            client.send(format!("{number}\n").as_bytes()).await;
            assert_eq!(client.rest().await, format!("{number}\n"));
        });
    }
    while let Some(client) = within(clients.join_next()).await {
        client.unwrap();
    }
    assert_eq!(proxy.proxy.usage().connections, 300);
    assert!(most.load(Ordering::SeqCst) <= PLACES, "{most:?} at once");
    echo.abort();
}

#[tokio::test]
async fn a_client_beyond_the_places_waits_until_one_is_free() {
    let (listener, address) = server().await;
    let limits = Limits { connections: 1, ..Limits::default() };
    let proxy = Running::open_with(address, limits);
    let mut first = proxy.client().await;
    first.connect(address).await;
    let outside = accept(&listener).await;

    let mut second = proxy.client().await;
    second.send(format!("CONNECT {address} HTTP/1.1\r\n\r\n").as_bytes()).await;
    assert_eq!(proxy.proxy.usage().connections, 1);
    drop((first, outside));
    assert!(second.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(proxy.proxy.usage().connections, 2);
}

#[tokio::test]
async fn the_end_closes_everything_at_once() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut idle = proxy.client().await;
    let mut tunnel = proxy.client().await;
    tunnel.connect(address).await;
    let mut outside = accept(&listener).await;
    let mut waiting = proxy.client().await;
    waiting.send(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut asked = accept(&listener).await;
    asked.head().await;
    until(|| proxy.proxy.usage().connections == 3).await;

    proxy.shutdown.cancel();
    within(proxy.proxy.stopped()).await;
    for side in [&mut idle, &mut tunnel, &mut outside, &mut waiting, &mut asked] {
        assert_eq!(Client::rest(side).await, "");
    }
    let late = tokio::net::TcpStream::connect(proxy.address).await;
    assert!(late.is_err(), "the listener is closed");
}
