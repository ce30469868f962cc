//! A server on a free port and the raw bytes of its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sandgate_chassis::{Error, Listener, ServerLimits, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for anything that does happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Never reached in a test.
pub const NEVER: Duration = Duration::from_secs(600);

pub fn limits() -> ServerLimits {
    ServerLimits { head: NEVER, idle: NEVER, drain: NEVER, connections: 64 }
}

pub fn shutdown() -> Shutdown {
    Shutdown { soft: CancellationToken::new(), hard: CancellationToken::new() }
}

pub fn listener() -> Listener {
    Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), "--listen").unwrap()
}

/// A server in this process.
pub struct Served {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub task: JoinHandle<Result<(), Error>>,
}

pub fn serve(router: axum::Router, limits: ServerLimits) -> Served {
    let listener = listener();
    let (address, shutdown) = (listener.address(), shutdown());
    let task =
        tokio::spawn(sandgate_chassis::serve_http(listener, router, limits, shutdown.clone()));
    Served { address, shutdown, task }
}

impl Served {
    pub async fn ends(self) {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Sends the bytes and returns all that comes until the other side closes.
pub async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> String {
    // The other side may close before it has read all.
    let _ = stream.write_all(bytes).await;
    rest(stream).await
}

/// All that comes until the other side closes.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is an end too.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}
