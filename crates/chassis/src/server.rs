//! The listeners of a process: HTTP/1.1 and HTTP/2 without TLS, with every size and time bounded.
//!
//! Binding and serving are two steps, so that a taken port is known before any work starts. What is served is somebody
//! else's router; this file only protects it from slow, silent and too many clients, and ends it in order.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{Error, Shutdown};

mod connection;
mod grpc;

pub use grpc::serve_grpc;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;
/// How long we wait after the system refuses to accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// How long a client may take to send the head of a request, the first or the next one.
    pub head: Duration,
    /// How long a connection may carry no byte in either direction.
    pub idle: Duration,
    /// How long open requests get to finish after the soft stop.
    pub drain: Duration,
    /// How many connections are served at once; more wait in the backlog of the system.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            connections: 1024,
        }
    }
}

/// A bound address that nobody answers on yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes the address; port 0 takes a free one. `flag` is what a person changes it with.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] or [`Error::Bind`].
    pub fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, Error> {
        let failed = |source: std::io::Error| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                Error::AddressInUse { address, flag }
            } else {
                Error::Bind { address, flag, source }
            }
        };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address: bound })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers with the router until the soft stop, then lets open requests finish until the limit or the hard stop.
///
/// # Errors
/// If the runtime can't watch the socket.
pub async fn serve_http(
    listener: Listener,
    router: Router,
    limits: ServerLimits,
    shutdown: Shutdown,
) -> Result<(), Error> {
    serve(listener, router, limits, builder(limits), shutdown).await
}

fn builder(limits: ServerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS);
    builder
}

async fn serve(
    listener: Listener,
    router: Router,
    limits: ServerLimits,
    builder: Builder<TokioExecutor>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let address = listener.address;
    let socket = tokio::net::TcpListener::from_std(listener.socket)
        .map_err(|source| Error::Serve { address, source })?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.soft.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => note_end(ended),
            accepted = socket.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    let (builder, router) = (builder.clone(), router.clone());
                    let soft = shutdown.soft.clone();
                    connections.spawn(connection::serve(stream, builder, router, limits, soft));
                }
                Err(error) => {
                    tracing::warn!(server.address = %address, error = %error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    drain(connections, limits.drain, &shutdown.hard, address).await;
    Ok(())
}

async fn drain(
    mut connections: JoinSet<()>,
    limit: Duration,
    hard: &CancellationToken,
    address: SocketAddr,
) {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    };
    let finished = tokio::select! {
        () = all => true,
        () = hard.cancelled() => false,
        () = tokio::time::sleep(limit) => false,
    };
    if !finished {
        let left = connections.len();
        tracing::info!(server.address = %address, connections = left, "dropped open connections");
        connections.shutdown().await;
    }
}

/// A request that panics takes its own connection with it and nothing else.
fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = %error, "a request panicked");
    }
}
