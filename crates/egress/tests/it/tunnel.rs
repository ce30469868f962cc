//! `CONNECT`.

use std::time::Duration;

use sandgate_egress::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::{Running, accept, server, until};

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_keeps_answering_after_half_a_close() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    assert!(client.connect(address).await.starts_with("HTTP/1.1 200 "));
    let mut outside = accept(&listener).await;

    client.send(b"question\n").await;
    assert_eq!(outside.until("\n").await, "question\n");
    outside.send(b"answer\n").await;
    assert_eq!(client.until("\n").await, "answer\n");

    client.send(b"last words").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(outside.rest().await, "last words");
    outside.send(b"after the end of the question").await;
    drop(outside);
    assert_eq!(client.rest().await, "after the end of the question");

    let usage = proxy.proxy.usage();
    assert_eq!((usage.connections, usage.bytes_up, usage.bytes_down), (1, 19, 36));
    proxy.stop().await;
}

#[tokio::test]
async fn the_server_may_close_its_half_first() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.connect(address).await;
    let mut outside = accept(&listener).await;
    outside.send(b"bye").await;
    outside.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "bye");
    client.send(b"still here").await;
    drop(client);
    assert_eq!(outside.rest().await, "still here");
}

#[tokio::test]
async fn bytes_sent_together_with_the_request_reach_the_server() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.send(format!("CONNECT {address} HTTP/1.1\r\n\r\nearly\n").as_bytes()).await;
    assert_eq!(accept(&listener).await.until("\n").await, "early\n");
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_a_502_with_the_reason() {
    let (listener, address) = server().await;
    drop(listener);
    let proxy = Running::open_to(&[address]);
    let answer =
        proxy.ask(&format!("CONNECT {address} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("Connection refused"), "{answer}");
    assert_eq!(proxy.proxy.usage().failed, 1);
}

#[tokio::test]
async fn a_tunnel_without_a_byte_is_closed_after_the_idle_limit() {
    let (listener, address) = server().await;
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let proxy = Running::open_with(address, limits);
    let mut client = proxy.client().await;
    client.connect(address).await;
    let mut outside = accept(&listener).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(outside.rest().await, "");
}

#[tokio::test]
async fn a_side_that_vanishes_takes_the_other_along() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.connect(address).await;
    let mut outside = accept(&listener).await;
    client.send(b"x").await;
    assert_eq!(outside.until("x").await, "x");
    until(|| proxy.proxy.usage().bytes_up == 1).await;
    client.0.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(outside.rest().await, "");
}
