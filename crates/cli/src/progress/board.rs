//! The state of all steps of a run as the events tell it, and the last lines that each wrote.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandgate_domain::GateResult;
use sandgate_integration_agent::Progress;

/// How many lines are kept of each step.
const TAIL_LINES: usize = 40;
/// How many characters of a line are kept.
const LINE_CHARS: usize = 400;

/// All steps of one run.
#[derive(Debug)]
pub struct Board {
    /// The steps in the order in which they are shown.
    pub steps: Vec<Step>,
}

/// One step of the run.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: State,
    /// The last lines that it wrote, without control characters.
    pub tail: VecDeque<String>,
    partial: Vec<u8>,
}

/// How far a step is.
#[derive(Debug, Clone)]
pub enum State {
    /// Others come first.
    Waiting,
    /// It could start.
    Queued {
        /// Why it has not; none: nobody has said.
        reason: Option<String>,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Instant,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// It has its result.
    Ended {
        /// The result.
        result: GateResult,
        /// Why.
        reason: Option<String>,
        /// How long it ran.
        duration: Duration,
    },
}

impl Board {
    /// A board on which nothing has happened yet.
    pub fn new(names: Vec<String>) -> Self {
        let step =
            |name| Step { name, state: State::Waiting, tail: VecDeque::new(), partial: Vec::new() };
        Self { steps: names.into_iter().map(step).collect() }
    }

    /// Whether an event still tells something: why a step waits may be told while it starts.
    pub fn is_news(&self, event: &Progress) -> bool {
        let Progress::Waits { step, .. } = event else { return true };
        let found = self.steps.iter().find(|known| known.name == *step);
        found.is_some_and(|step| matches!(step.state, State::Queued { .. }))
    }

    /// Takes in one event.
    pub fn apply(&mut self, event: &Progress) {
        match event {
            Progress::Queued { step } | Progress::Retried { step, .. } => {
                self.set(step, State::Queued { reason: None });
            }
            Progress::Waits { step, reason, .. } => {
                self.set(step, State::Queued { reason: Some(reason.clone()) });
            }
            Progress::Started { step, attempt } => {
                self.set(step, State::Running { since: Instant::now(), attempt: *attempt });
            }
            Progress::Ended { step, result, reason, duration } => self.set(
                step,
                State::Ended { result: *result, reason: reason.clone(), duration: *duration },
            ),
            Progress::Output { step, bytes, .. } => {
                if let Some(step) = self.find(step) {
                    step.write(bytes);
                }
            }
            Progress::Verdict { .. } => {}
        }
    }

    /// The step with this name.
    pub fn find(&mut self, name: &str) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.name == name)
    }

    /// The length of the longest name, in characters.
    pub fn name_width(&self) -> usize {
        self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0)
    }

    fn set(&mut self, name: &str, state: State) {
        if let Some(step) = self.find(name) {
            step.state = state;
        }
    }
}

impl Step {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let room = (4 * LINE_CHARS).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                let line = clean(&std::mem::take(&mut self.partial));
                if !line.is_empty() {
                    self.tail.push_back(line);
                }
            }
            while self.tail.len() > TAIL_LINES {
                self.tail.pop_front();
            }
        }
    }
}

/// A line of output that can be shown on a terminal: no escape sequences or control characters, and not too long.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\t' => line.push_str("    "),
            // Bidirectional controls can make a line read differently from what it says.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => line.push('\u{fffd}'),
            plain if plain.is_control() => {}
            plain => line.push(plain),
        }
    }
    let line = line.trim_end();
    if line.chars().count() <= LINE_CHARS {
        return line.to_owned();
    }
    line.chars().take(LINE_CHARS).chain(['…']).collect()
}

fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.peek() {
        // CSI: parameters until a final byte.
        Some('[') => {
            characters.next();
            for character in characters.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&character) {
                    break;
                }
            }
        }
        // OSC, DCS and the like: text until BEL or ST.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(character) = characters.next() {
                if character == '\u{7}' {
                    break;
                }
                if character == '\u{1b}' {
                    characters.next();
                    break;
                }
            }
        }
        _ => {
            characters.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_never_reach_the_terminal() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("a\u{8}b\tc\r", "ab    c"),
            ("safe \u{202e}txt.exe", "safe \u{fffd}txt.exe"),
            ("\u{1b}[2J\u{1b}[H", ""),
            ("cut \u{1b}", "cut"),
        ] {
            assert_eq!(clean(raw.as_bytes()), shown, "{raw:?}");
        }
    }

    #[test]
    fn why_a_step_waits_is_told_until_it_starts() {
        let mut board = Board::new(vec!["unit".into()]);
        let waits = |reason: &str| {
            let (step, reason) = ("unit".to_owned(), reason.to_owned());
            Progress::Waits { step, reason, is_oldest: true }
        };
        assert!(!board.is_news(&waits("nothing was asked of it yet")));
        board.apply(&Progress::Queued { step: "unit".into() });
        for reason in ["waits behind 1 step", "waits for memory"] {
            assert!(board.is_news(&waits(reason)));
            board.apply(&waits(reason));
            let State::Queued { reason: Some(told) } = &board.steps[0].state else { panic!() };
            assert_eq!(told, reason);
        }
        board.apply(&Progress::Started { step: "unit".into(), attempt: 1 });
        assert!(!board.is_news(&waits("told too late")));
        board.apply(&Progress::Retried { step: "unit".into(), reason: "lost".into() });
        assert!(board.is_news(&waits("again")));
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_without_bound() {
        let mut board = Board::new(vec!["unit".into()]);
        for _ in 0..100 {
            let bytes = vec![b'x'; 10_000];
            let stream = sandgate_integration_agent::Stream::Stdout;
            board.apply(&Progress::Output { step: "unit".into(), stream, bytes });
        }
        assert!(board.steps[0].partial.len() <= 4 * LINE_CHARS);
    }
}
