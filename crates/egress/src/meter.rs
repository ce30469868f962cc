//! A stream that notes every byte it moves, for the ledger and for the limit on quiet connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::usage::Ledger;

/// Into how many looks the idle limit is divided.
const LOOKS: u32 = 4;

/// Whether bytes still move on one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    moved: AtomicU64,
    expired: AtomicBool,
}

impl Activity {
    /// Returns once no byte has moved for `limit` (noticed at most a quarter of it later).
    pub(crate) async fn quiet_for(&self, limit: Duration) {
        let mut seen = self.moved.load(Ordering::Relaxed);
        let mut quiet_looks = 0;
        while quiet_looks < LOOKS {
            tokio::time::sleep(limit / LOOKS).await;
            let moved = self.moved.load(Ordering::Relaxed);
            quiet_looks = if moved == seen { quiet_looks + 1 } else { 0 };
            seen = moved;
        }
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Whether [`Activity::quiet_for`] has run out.
    pub(crate) fn expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    fn note(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A stream under watch.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    ledger: Option<Arc<Ledger>>,
}

impl<S> Watched<S> {
    /// The client's side; what moves here is not counted a second time.
    pub(crate) fn inside(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, ledger: None }
    }

    /// The outside; what moves here is what the sandbox has used.
    pub(crate) fn outside(stream: S, activity: Arc<Activity>, ledger: Arc<Ledger>) -> Self {
        Self { stream, activity, ledger: Some(ledger) }
    }

    fn note_read(&self, bytes: usize) {
        self.activity.note(bytes as u64);
        if let Some(ledger) = &self.ledger {
            ledger.count_down(bytes as u64);
        }
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = written else { return };
        self.activity.note(*bytes as u64);
        if let Some(ledger) = &self.ledger {
            ledger.count_up(*bytes as u64);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note_read(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_written(&written);
        written
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
