//! Two-stage shutdown: the first signal asks, the second one insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two tokens that every long task watches.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Cancelled at the first signal: stop taking work, finish or hand over.
    pub soft: CancellationToken,
    /// Cancelled at the second signal: stop at once.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Tokens that follow SIGINT and SIGTERM from now on. Needs a running tokio runtime.
    ///
    /// # Errors
    /// If the signal handlers can't be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Self { soft: CancellationToken::new(), hard: CancellationToken::new() };
        let tokens = shutdown.clone();
        tokio::spawn(async move {
            for token in [tokens.soft, tokens.hard] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(shutdown)
    }
}
