//! A proxy with its listener, servers, and a client that speaks in raw bytes.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use sandgate_egress::{Limits, Policy, Proxy, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A proxy that listens on the loopback of this machine in place of the sandbox's.
pub struct Running {
    pub address: SocketAddr,
    pub proxy: Proxy,
    pub shutdown: CancellationToken,
}

impl Running {
    pub fn start(policy: Policy) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let proxy = serve(listener, policy, shutdown.clone()).unwrap();
        Self { address, proxy, shutdown }
    }

    /// A proxy that may reach exactly these addresses of this machine.
    pub fn open_to(listed: &[SocketAddr]) -> Self {
        Self::start(Policy { listed: listed.to_vec(), ..Policy::default() })
    }

    pub fn open_with(listed: SocketAddr, limits: Limits) -> Self {
        Self::start(Policy { listed: vec![listed], limits, ..Policy::default() })
    }

    pub async fn client(&self) -> Client {
        Client(within(TcpStream::connect(self.address)).await.unwrap())
    }

    /// Sends one request on a connection of its own and returns the whole answer.
    pub async fn ask(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.send(request.as_bytes()).await;
        client.rest().await
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.proxy.stopped()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A TCP connection with the few operations that the tests read well with.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        within(self.0.write_all(bytes)).await.unwrap();
    }

    /// Everything until the other side closes; a reset ends it too.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _closed_or_reset = within(self.0.read_to_end(&mut bytes)).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything up to and with `mark`.
    pub async fn until(&mut self, mark: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(mark.as_bytes()) {
            match within(self.0.read_u8()).await {
                Ok(byte) => bytes.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// The head of an answer.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub async fn connect(&mut self, target: impl std::fmt::Display) -> String {
        self.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await;
        self.head().await
    }
}

/// A listener of a test server.
pub async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub async fn accept(listener: &TcpListener) -> Client {
    Client(within(listener.accept()).await.unwrap().0)
}

/// Asserts that nobody has connected: a connection of our own is the first in the queue.
pub async fn assert_untouched(listener: &TcpListener) {
    let own = within(TcpStream::connect(listener.local_addr().unwrap())).await.unwrap();
    let (_, first) = within(listener.accept()).await.unwrap();
    assert_eq!(first, own.local_addr().unwrap(), "someone else was there before");
}

/// The future's result; panics when it takes so long that something must hang.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("took over 30 s")
}

/// Returns once the condition holds.
pub async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
