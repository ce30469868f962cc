//! One JSON object for each change of state.

use sandgate_integration_agent::{Progress, Stream};
use serde_json::json;

use super::{Board, View};

/// JSON lines.
pub struct Lines;

impl View for Lines {
    fn event(&mut self, _board: &Board, event: &Progress) {
        let object = match event {
            Progress::Queued { step } => json!({ "event": "queued", "gate": step }),
            // How many are before one changes with every start.
            Progress::Waits { is_oldest: false, .. } => return,
            Progress::Waits { step, reason, .. } => {
                json!({ "event": "waits", "gate": step, "reason": reason })
            }
            Progress::Started { step, attempt } => {
                json!({ "event": "started", "gate": step, "attempt": attempt })
            }
            Progress::Retried { step, reason } => {
                json!({ "event": "retried", "gate": step, "reason": reason })
            }
            Progress::Output { step, stream, bytes } => json!({
                "event": "output",
                "gate": step,
                "stream": match stream { Stream::Stdout => "stdout", Stream::Stderr => "stderr" },
                "text": String::from_utf8_lossy(bytes),
            }),
            Progress::Ended { step, result, reason, duration } => json!({
                "event": "ended",
                "gate": step,
                "result": result,
                "reason": reason,
                "durationMs": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            }),
            Progress::Verdict { run, result } => {
                json!({ "event": "verdict", "run": run, "result": result })
            }
        };
        eprintln!("{object}");
    }
}
