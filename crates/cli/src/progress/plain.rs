//! One line for each change of state, for logs of other systems; the last lines of what did not pass.

use sandgate_domain::GateResult;
use sandgate_integration_agent::Progress;

use super::board::{Board, State, clean};
use super::{Style, View};
use crate::text::{duration, paint_result};

/// Plain lines.
pub struct Lines {
    style: Style,
}

impl Lines {
    pub fn new(style: Style) -> Self {
        Self { style }
    }
}

impl View for Lines {
    fn event(&mut self, board: &Board, event: &Progress) {
        let width = board.name_width();
        match event {
            Progress::Queued { step } => eprintln!("{step:<width$}  queued"),
            Progress::Waits { step, reason, is_oldest: true } => {
                eprintln!("{step:<width$}  {}", clean(reason.as_bytes()));
            }
            Progress::Started { step, attempt: 1 } => eprintln!("{step:<width$}  started"),
            Progress::Started { step, attempt } => {
                eprintln!("{step:<width$}  started, attempt {attempt}");
            }
            Progress::Retried { step, reason } => {
                eprintln!("{step:<width$}  will be tried again: {}", clean(reason.as_bytes()));
            }
            Progress::Output { step, bytes, .. } if self.style.output => {
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    eprintln!("{step:<width$}  | {}", clean(line));
                }
            }
            Progress::Ended { step, result, reason, duration: taken } => {
                let result_word = paint_result(*result, self.style.colour);
                let reason = reason.as_ref().map(|text| format!(": {}", clean(text.as_bytes())));
                eprintln!(
                    "{step:<width$}  {result_word}{} ({})",
                    reason.unwrap_or_default(),
                    duration(*taken)
                );
                if !self.style.output && tells_more(*result) {
                    show_tail(board, step);
                }
            }
            // How many are before one changes with every start.
            Progress::Waits { .. } | Progress::Output { .. } | Progress::Verdict { .. } => {}
        }
    }
}

fn tells_more(result: GateResult) -> bool {
    matches!(result, GateResult::Failure | GateResult::Error | GateResult::Timeout)
}

/// The last lines of a step that ended, indented.
fn show_tail(board: &Board, name: &str) {
    let Some(step) = board.steps.iter().find(|step| step.name == name) else { return };
    debug_assert!(matches!(step.state, State::Ended { .. }));
    for line in &step.tail {
        eprintln!("    {line}");
    }
}
