//! Log output: lines for people, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// What an operator should know.
    Warn,
    /// Each step of the work.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "sandgate=info,warn",
            Self::Debug => "debug,hyper=info,sqlx=info",
        }
    }
}

/// Starts logging to standard error. A second call in one process changes nothing.
pub fn start_logging(level: LogLevel, colour: bool) {
    let started = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directive()))
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .with_span_events(FmtSpan::NONE)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}
