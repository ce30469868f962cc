//! Plain HTTP in absolute form.

use std::time::Duration;

use sandgate_egress::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Running, accept, server, within};

#[tokio::test]
async fn requests_share_a_client_connection_and_travel_in_origin_form() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    for path in ["/simple/?q=1%20a", "/", "/second"] {
        let request = format!(
            "GET http://{address}{path} HTTP/1.1\r\nHost: elsewhere.example\r\nUser-Agent: test\r\n\
             Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"
        );
        client.send(request.as_bytes()).await;
        let mut outside = accept(&listener).await;
        let head = outside.head().await;
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
        assert!(lower.contains("\r\nuser-agent: test\r\n"), "{head}");
        for gone in ["elsewhere", "proxy-", "x-hop", "connection"] {
            assert!(!lower.contains(gone), "{gone} in {head}");
        }
        outside
            .send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\nETag: \"e\"\r\n\r\nyes")
            .await;
        let answer = client.until("yes").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\"e\""), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("connection"), "{answer}");
    }
    assert_eq!(proxy.proxy.usage().connections, 1);
}

#[tokio::test]
async fn a_head_request_keeps_its_length_and_has_no_body() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.send(format!("HEAD http://{address}/file HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.head().await;
    outside.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n").await;
    let head = client.head().await.to_ascii_lowercase();
    assert!(head.contains("content-length: 1234567"), "{head}");
    client.send(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await;
    assert!(accept(&listener).await.head().await.starts_with("GET / "));
}

/// The server acknowledges every piece before the client sends the next: a proxy that collected the body would hang.
#[tokio::test]
async fn a_chunked_body_of_10_mb_is_passed_on_piece_by_piece_in_both_directions() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 160;
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    let head =
        format!("POST http://{address}/upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head.as_bytes()).await;
    let mut outside = accept(&listener).await;
    assert!(outside.head().await.to_ascii_lowercase().contains("transfer-encoding: chunked"));
    outside.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await;

    let piece = vec![b'p'; PIECE];
    for _ in 0..PIECES {
        client.send(format!("{PIECE:x}\r\n").as_bytes()).await;
        client.send(&piece).await;
        client.send(b"\r\n").await;
        let mut received = 0;
        let mut buffer = vec![0; PIECE];
        while received < PIECE {
            let count = within(outside.0.read(&mut buffer)).await.unwrap();
            assert!(count > 0);
            received += buffer[..count].iter().filter(|byte| **byte == b'p').count();
        }
        outside.send(b"1\r\n.\r\n").await;
        client.until(".").await;
    }
    client.send(b"0\r\n\r\n").await;
    outside.until("0\r\n\r\n").await;
    outside.send(b"0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    assert!(proxy.proxy.usage().bytes_up > (PIECE * PIECES) as u64);
    assert!(proxy.proxy.usage().bytes_down > PIECES as u64);
}

/// Both lengths at once is how requests are smuggled; only one may go on.
#[tokio::test]
async fn a_request_with_two_lengths_goes_on_with_one_or_not_at_all() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let (length, chunked) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    for (first, second) in [(length, chunked), (chunked, length)] {
        let mut client = proxy.client().await;
        let request =
            format!("POST http://{address}/ HTTP/1.1\r\n{first}{second}\r\n1\r\nZ\r\n0\r\n\r\n");
        client.send(request.as_bytes()).await;
        let mut outside = tokio::select! {
            outside = accept(&listener) => outside,
            answer = client.head() => {
                assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
                continue;
            }
        };
        let head = outside.head().await.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(outside.until("0\r\n\r\n").await, "1\r\nZ\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_ends_the_exchange() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    let request = format!(
        "GET http://{address}/ HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    client.send(request.as_bytes()).await;
    let mut outside = accept(&listener).await;
    assert!(!outside.head().await.to_ascii_lowercase().contains("upgrade"));
    outside.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await;
    client.rest().await;
    assert_eq!(outside.rest().await, "");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_chunked_answer_unchunked() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.send(format!("GET http://{address}/ HTTP/1.0\r\n\r\n").as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.head().await;
    outside
        .send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        .await;
    let answer = client.rest().await;
    assert!(answer.ends_with("\r\n\r\nonetwo"), "{answer}");
}

#[tokio::test]
async fn a_server_that_breaks_off_or_speaks_no_http_is_a_502() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    for reply in ["", "220 mail.example ESMTP\r\n", "HTTP/1.1 200"] {
        let mut client = proxy.client().await;
        let request = format!("GET http://{address}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
        client.send(request.as_bytes()).await;
        let mut outside = accept(&listener).await;
        outside.head().await;
        outside.send(reply.as_bytes()).await;
        outside.0.shutdown().await.unwrap();
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{reply}: {answer}");
        assert!(answer.contains("no valid answer from"), "{reply}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_ends_too_early_for_the_client() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);
    let mut client = proxy.client().await;
    client.send(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.head().await;
    outside.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    client.until("half\r\n").await;
    drop(outside);
    assert!(!client.rest().await.contains("0\r\n\r\n"));
}

#[tokio::test]
async fn a_server_that_stays_silent_is_a_504() {
    let (listener, address) = server().await;
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let proxy = Running::open_with(address, limits);
    let mut client = proxy.client().await;
    let request = format!("GET http://{address}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
    client.send(request.as_bytes()).await;
    let mut outside = accept(&listener).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("no byte moved"), "{answer}");
    outside.head().await;
    assert_eq!(outside.rest().await, "");
}

#[tokio::test]
async fn a_client_that_leaves_early_closes_the_connection_to_the_server() {
    let (listener, address) = server().await;
    let proxy = Running::open_to(&[address]);

    let mut waiting = proxy.client().await;
    waiting.send(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.head().await;
    drop(waiting);
    assert_eq!(outside.rest().await, "");

    let mut uploading = proxy.client().await;
    let head = format!("PUT http://{address}/ HTTP/1.1\r\nContent-Length: 100\r\n\r\npart");
    uploading.send(head.as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.until("part").await;
    drop(uploading);
    assert_eq!(outside.rest().await, "");

    let mut downloading = proxy.client().await;
    downloading.send(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut outside = accept(&listener).await;
    outside.head().await;
    outside.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nsome").await;
    downloading.until("some").await;
    drop(downloading);
    let piece = vec![0; 64 * 1024];
    within(async { while outside.0.write_all(&piece).await.is_ok() {} }).await;
    proxy.stop().await;
}
