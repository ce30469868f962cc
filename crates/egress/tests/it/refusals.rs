//! What must not be reached, each with the control that the same server is reached when listed.

use std::net::UdpSocket;

use sandgate_egress::Policy;

use crate::support::{Running, accept, assert_untouched, server};

#[tokio::test]
async fn the_hosts_loopback_is_refused_by_every_name_unless_listed() {
    let (listener, address) = server().await;
    let port = address.port();
    let proxy = Running::start(Policy { private_ranges: true, ..Policy::default() });
    for (host, reason) in [
        ("127.0.0.1", "loopback"),
        ("localhost", "loopback"),
        ("LOCALHOST", "loopback"),
        ("127.0.0.2", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("[::1]", "loopback"),
        ("[::]", "unspecified"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("[::127.0.0.1]", "IPv4-compatible"),
        ("[64:ff9b::127.0.0.1]", "loopback"),
        ("[fe80::1]", "link-local"),
        ("169.254.169.254", "link-local"),
        ("100.100.100.200", "metadata"),
        ("[fd00:ec2::254]", "metadata"),
        ("2130706433", "spelled"),
        ("0x7f.1", "spelled"),
        ("0177.0.0.1", "spelled"),
        ("127.1", "spelled"),
        ("127.0.0.1.", "spelled"),
    ] {
        let requests = [
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ];
        for request in requests {
            let answer = proxy.ask(&request).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{request}: {answer}");
            assert!(answer.contains("the proxy refused "), "{request}: {answer}");
            assert!(answer.contains(reason), "{request}: {answer}");
        }
    }
    assert_untouched(&listener).await;

    let open = Running::open_to(&[address]);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let mut client = open.client().await;
        let head = client.connect(format!("{host}:{port}")).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{host}: {head}");
        let mut seen = accept(&listener).await;
        client.send(b"hello\n").await;
        assert_eq!(seen.until("\n").await, "hello\n");
    }
}

#[tokio::test]
async fn an_address_of_the_hosts_own_interface_is_refused() {
    let towards_outside = UdpSocket::bind("0.0.0.0:0").unwrap();
    if let Err(error) = towards_outside.connect("203.0.113.80:443") {
        let reason = format!("this machine has no address besides loopback: {error}");
        sandgate_testkit::skip("own_interface", &reason);
        return;
    }
    let own = towards_outside.local_addr().unwrap().ip();
    let listener = tokio::net::TcpListener::bind((own, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = format!("GET http://{address}/ HTTP/1.1\r\nConnection: close\r\n\r\n");

    let proxy = Running::start(Policy { private_ranges: true, ..Policy::default() });
    let answer = proxy.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("an address of the host"), "{answer}");
    assert_untouched(&listener).await;

    let open = Running::open_to(&[address]);
    let mut client = open.client().await;
    client.send(request.as_bytes()).await;
    assert!(accept(&listener).await.head().await.starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_port_that_is_not_carried_is_refused_before_a_lookup() {
    let proxy = Running::open_to(&[]);
    let answer = proxy.ask("CONNECT name.invalid:22 HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("name.invalid:22") && answer.contains("port"), "{answer}");
}

#[tokio::test]
async fn incidents_and_counts_say_what_happened_and_no_password() {
    let proxy = Running::open_to(&[]);
    for _ in 0..3 {
        proxy.ask("CONNECT 169.254.169.254:80 HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    }
    proxy.ask("GET http://me:secret@example.com/ HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    let missing = "GET http://no-such-name.invalid/ HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = proxy.ask(missing).await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    assert!(answer.contains("no-such-name.invalid:80"), "{answer}");

    let usage = proxy.proxy.usage();
    assert_eq!((usage.connections, usage.refused, usage.failed), (5, 4, 1));
    assert_eq!((usage.bytes_up, usage.bytes_down), (0, 0));
    let incidents = proxy.proxy.incidents();
    assert_eq!(incidents.len(), 3, "{incidents:?}");
    assert_eq!(
        (incidents[0].text.as_str(), incidents[0].refused, incidents[0].times),
        (
            "the proxy refused 169.254.169.254:80: it is link-local, where cloud metadata lives",
            true,
            3
        )
    );
    assert!(incidents[1].text.contains("example.com") && !incidents[1].text.contains("secret"));
    assert!(!incidents[2].refused);
}

#[tokio::test]
async fn what_is_not_for_a_proxy_is_answered_with_400() {
    let proxy = Running::open_to(&[]);
    for request in [
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        "GET https://example.com/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET ftp://example.com/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "CONNECT example.com HTTP/1.1\r\nConnection: close\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET http://[fe80::1%25lo]/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET http://b\u{fc}cher.example/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        let answer = proxy.ask(request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 403 "),
            "{request}: {answer}"
        );
    }
    assert_eq!(proxy.proxy.usage().bytes_up, 0);
}
