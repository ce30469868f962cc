//! Log output to standard error: lines for people, or one JSON document a line for machines.

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

/// Starts logging lines for people to standard error. A second call in one process changes nothing.
pub fn start_logging(level: LogLevel, colour: bool) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directive()))
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .with_span_events(FmtSpan::NONE);
    note(lines.try_init());
}

/// Starts logging one JSON document a line to standard error: `timestamp`, `level`, `target`, `message` and the fields of
/// the event by their dotted names. A second call in one process changes nothing.
pub fn start_json_logging(level: LogLevel) {
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::new(level.directive()))
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    note(lines.try_init());
}

fn note<E>(started: Result<(), E>) {
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}
