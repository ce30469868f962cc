//! A live tree: one line a step, redrawn in place; the last line of what runs, more of what did not pass.

use std::io::Write;
use std::time::Instant;

use sandgate_domain::GateResult;
use sandgate_integration_agent::Progress;

use super::board::{Board, State, Step};
use super::{Style, View};
use crate::text::{duration, paint, paint_result, result_mark};

const SPINNER: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];
/// How many lines are shown of a step that did not pass.
const SHOWN_TAIL: usize = 12;

/// The tree on the terminal.
pub struct Tree {
    colour: bool,
    heading: Option<&'static str>,
    began: Instant,
    drawn: usize,
}

impl Tree {
    pub fn new(style: Style) -> Self {
        let Style { colour, heading, .. } = style;
        Self { colour, heading, began: Instant::now(), drawn: 0 }
    }

    fn draw(&mut self, board: &Board, last: bool) {
        let (columns, rows) = terminal_size();
        let mut lines = self.lines(board, last);
        if !last && lines.len() > rows.saturating_sub(1) {
            let hidden = lines.len() - rows.saturating_sub(2);
            lines.drain(..hidden);
            lines.insert(0, format!("… {hidden} lines above"));
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.drawn));
        }
        text.push_str("\u{1b}[0J");
        for line in &lines {
            text.push_str(&fit(line, columns));
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut stderr = std::io::stderr().lock();
        // A terminal that went away ends the run by its own signal; there is nobody to tell here.
        let _gone = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    fn lines(&self, board: &Board, last: bool) -> Vec<String> {
        let width = board.name_width();
        let mut lines: Vec<String> = self.heading.iter().map(|text| (*text).to_owned()).collect();
        for step in &board.steps {
            lines.push(self.step_line(step, width));
            lines.extend(self.below(step, last));
        }
        lines
    }

    fn step_line(&self, step: &Step, width: usize) -> String {
        let name = format!("{:<width$}", step.name);
        match &step.state {
            State::Waiting => paint(self.colour, "2", &format!("· {name}  waiting")),
            State::Queued { reason: None } => format!("· {name}  queued"),
            State::Queued { reason: Some(reason) } => {
                format!("· {name}  {}", super::clean(reason.as_bytes()))
            }
            State::Running { since, attempt } => {
                let turn = usize::try_from(self.began.elapsed().as_millis() / 100).unwrap_or(0);
                let again =
                    if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let time = duration(since.elapsed());
                format!("{} {name}  running {time}{again}", SPINNER[turn % SPINNER.len()])
            }
            State::Ended { result, reason, duration: taken } => {
                let reason =
                    reason.as_ref().map(|text| format!(": {}", super::clean(text.as_bytes())));
                format!(
                    "{} {name}  {} {}{}",
                    paint_mark(*result, self.colour),
                    paint_result(*result, self.colour),
                    duration(*taken),
                    reason.unwrap_or_default()
                )
            }
        }
    }

    fn below(&self, step: &Step, last: bool) -> Vec<String> {
        let count = match &step.state {
            State::Running { .. } if !last => 1,
            State::Ended {
                result: GateResult::Failure | GateResult::Error | GateResult::Timeout,
                ..
            } => SHOWN_TAIL,
            State::Waiting | State::Queued { .. } | State::Running { .. } | State::Ended { .. } => {
                0
            }
        };
        let skipped = step.tail.len().saturating_sub(count);
        step.tail
            .iter()
            .skip(skipped)
            .map(|line| paint(self.colour, "2", &format!("  │ {line}")))
            .collect()
    }
}

impl View for Tree {
    fn event(&mut self, board: &Board, event: &Progress) {
        if !matches!(event, Progress::Output { .. }) {
            self.draw(board, false);
        }
    }

    fn tick(&mut self, board: &Board) {
        self.draw(board, false);
    }

    fn end(&mut self, board: &Board) {
        self.draw(board, true);
    }
}

fn paint_mark(result: GateResult, colour: bool) -> String {
    paint(colour, crate::text::result_colour(result), result_mark(result))
}

fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (80, 24),
    }
}

/// The line cut to the width of the terminal; our own colour sequences take no width.
fn fit(line: &str, columns: usize) -> String {
    let mut shown = 0;
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            text.push(character);
            for next in characters.by_ref() {
                text.push(next);
                if next == 'm' {
                    break;
                }
            }
            continue;
        }
        if shown + 1 >= columns {
            text.push_str("\u{1b}[0m");
            break;
        }
        shown += 1;
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_terminal_and_its_colour_ends() {
        assert_eq!(fit("abcdef", 80), "abcdef");
        assert_eq!(fit("\u{1b}[2mabcdef\u{1b}[0m", 4), "\u{1b}[2mabc\u{1b}[0m");
    }
}
