//! How results and states are shown: a sign, a word and a colour, always together.

use std::time::Duration;

use sandgate_domain::Timestamp;

use crate::rest::gate_item::{GateItem, TestFailure};
use crate::router::App;
use crate::text;

/// A point in time on a page.
pub struct Moment {
    /// For machines.
    pub iso: String,
    /// For people.
    pub full: String,
    /// How long ago.
    pub age: String,
}

impl Moment {
    /// A point in time, seen from now.
    pub fn new(app: &App, at: Timestamp) -> Self {
        Self {
            iso: text::rfc3339(at),
            full: text::clock_time(at),
            age: text::age(app.config.clock.now(), at),
        }
    }
}

/// A sign with its word.
pub struct Mark {
    /// The word.
    pub word: &'static str,
    /// The sign in `marks.svg`, and the colour.
    pub kind: &'static str,
}

const MARKS: [(&str, Mark); 20] = [
    ("success", Mark { word: "Success", kind: "success" }),
    ("failure", Mark { word: "Failure", kind: "failure" }),
    ("error", Mark { word: "Error", kind: "error" }),
    ("timeout", Mark { word: "Timeout", kind: "timeout" }),
    ("cancellation", Mark { word: "Cancelled", kind: "cancellation" }),
    ("cancelled", Mark { word: "Cancelled", kind: "cancellation" }),
    ("timed_out", Mark { word: "Timeout", kind: "timeout" }),
    ("skip", Mark { word: "Skipped", kind: "skip" }),
    ("skipped", Mark { word: "Skipped", kind: "skip" }),
    ("action_required", Mark { word: "Action required", kind: "held" }),
    ("running", Mark { word: "Running", kind: "running" }),
    ("claimed", Mark { word: "Running", kind: "running" }),
    ("in_progress", Mark { word: "Running", kind: "running" }),
    ("queued", Mark { word: "Queued", kind: "waiting" }),
    ("ready", Mark { word: "Ready", kind: "waiting" }),
    ("succeeded", Mark { word: "Acted on", kind: "success" }),
    ("ignored", Mark { word: "Ignored", kind: "skip" }),
    ("failed", Mark { word: "Failed", kind: "failure" }),
    ("live", Mark { word: "Live", kind: "running" }),
    ("duplicate", Mark { word: "Known already", kind: "skip" }),
];

/// The mark of a result, or of a state that has none yet.
pub fn mark(result: Option<&str>, state: &str) -> &'static Mark {
    const WAITING: Mark = Mark { word: "Waiting", kind: "waiting" };
    let wanted = result.unwrap_or(state);
    MARKS.iter().find(|(name, _)| *name == wanted).map_or(&WAITING, |(_, mark)| mark)
}

/// Milliseconds for people.
pub fn millis(millis: Option<u64>) -> String {
    millis.map_or_else(|| "–".to_owned(), |millis| text::duration(Duration::from_millis(millis)))
}

/// How long something has gone on by now: `12 s so far`.
pub fn elapsed(app: &App, since: Timestamp) -> String {
    let seconds = app.config.clock.now().since(since).as_secs();
    let so_far = if seconds < 60 {
        format!("{seconds} s")
    } else {
        text::duration(Duration::from_secs(seconds))
    };
    format!("{so_far} so far")
}

/// A gate on a page.
pub struct GateRow {
    pub id: String,
    pub name: String,
    pub is_setup: bool,
    pub blocking: bool,
    pub mark: &'static Mark,
    /// Why it waits, or ended so.
    pub reason: String,
    pub attempts: u32,
    pub duration: String,
    pub tests: String,
    pub failures: Vec<FailureRow>,
    pub has_ended: bool,
    pub is_running: bool,
}

/// A failed test on a page.
pub struct FailureRow {
    pub name: String,
    pub place: String,
    pub message: String,
}

impl GateRow {
    /// A gate, seen from now.
    pub fn new(app: &App, gate: &GateItem) -> Self {
        let is_running = gate.result.is_none() && gate.state == "claimed";
        let reports = gate.reports.as_ref();
        Self {
            id: gate.id.clone(),
            name: gate.name.clone(),
            is_setup: gate.kind == "setup",
            blocking: gate.blocking,
            mark: mark(gate.result.as_deref(), &gate.state),
            reason: reason(gate),
            attempts: gate.attempts,
            duration: match gate.started {
                Some(started) if is_running => elapsed(app, started),
                Some(_) | None => millis(gate.duration_ms),
            },
            is_running,
            tests: reports.map_or_else(String::new, |reports| {
                format!(
                    "{} of {} passed",
                    reports.tests.saturating_sub(reports.failed),
                    reports.tests
                )
            }),
            failures: reports.map_or_else(Vec::new, |r| r.failures.iter().map(failure).collect()),
            has_ended: gate.result.is_some(),
        }
    }
}

fn reason(gate: &GateItem) -> String {
    let stated = gate.waiting.as_ref().or(gate.reason.as_ref()).cloned();
    // A reason of the runner's own names the status already.
    let status = match (gate.exit_code, gate.signal) {
        _ if stated.as_deref().is_some_and(|text| text.starts_with("exit code")) => None,
        (_, Some(signal)) => Some(format!("ended by signal {signal}")),
        (Some(code), None) if code != 0 => Some(format!("exit status {code}")),
        (_, None) => None,
    };
    [status, stated].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn failure(failed: &TestFailure) -> FailureRow {
    let place = match (&failed.file, failed.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.clone(),
        (None, _) => String::new(),
    };
    let message = clean(failed.message.as_deref().unwrap_or_default());
    FailureRow { name: failed.name.clone(), place: clean(&place), message }
}

/// Text from a report or a log, without terminal escapes.
pub fn clean(text: &str) -> String {
    text::plain(text.as_bytes(), true).0
}
