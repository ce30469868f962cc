//! One connection: served until it ends, is told to, or goes silent.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ServerLimits;

/// How long what a client still sends is thrown away after the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one client.
pub(super) async fn serve(
    stream: TcpStream,
    builder: Builder<TokioExecutor>,
    router: Router,
    limits: ServerLimits,
    soft: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "the client is gone already");
        return;
    }
    let socket = stream.as_fd().try_clone_to_owned();
    let activity = Arc::new(Activity::new());
    let watched = Watched { stream, activity: Arc::clone(&activity) };
    let router = TowerToHyperService::new(router);
    let heard = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        heard.note_request();
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut draining = false;
    loop {
        // The deadline moves while we wait: to an earlier time only when the first request arrives.
        let look = activity.deadline(limits).min(Instant::now() + limits.idle.min(limits.head));
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "a connection ended early");
                }
                break;
            }
            () = soft.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(look) => {
                if activity.deadline(limits) <= Instant::now() {
                    tracing::debug!("dropped a silent connection");
                    return;
                }
            }
        }
    }
    if !soft.is_cancelled()
        && let Ok(socket) = socket
        && !matches!(tokio::time::timeout(LINGER, linger(socket)).await, Ok(Ok(())))
    {
        tracing::debug!("a client went on sending after the last answer");
    }
}

/// Throws away what a client sends after our last answer, until it has read that. A socket that is closed with bytes unread
/// is reset, and the answer, such as that a body is too large, is lost with it.
async fn linger(socket: OwnedFd) -> io::Result<()> {
    let mut stream = TcpStream::from_std(socket.into())?;
    stream.shutdown().await?;
    let mut unread = vec![0; 64 << 10];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut unread) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// When something last happened on a connection.
#[derive(Debug)]
struct Activity {
    opened: Instant,
    /// Milliseconds after `opened` at which a byte was last moved.
    moved: AtomicU64,
    /// Whether a whole request head was read: before that the protocol has no timer of its own.
    requested: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self { opened: Instant::now(), moved: AtomicU64::new(0), requested: AtomicBool::new(false) }
    }

    fn note_request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    fn note_bytes(&self) {
        let after = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(after, Ordering::Relaxed);
    }

    fn deadline(&self, limits: ServerLimits) -> Instant {
        if !self.requested.load(Ordering::Relaxed) {
            return self.opened + limits.head;
        }
        self.opened + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + limits.idle
    }
}

/// A stream that notes when bytes move.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    fn note<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            self.activity.note_bytes();
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
