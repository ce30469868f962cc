//! The rows of the table, and whether they reach their goals.

use std::fmt;

use crate::samples::Samples;

/// The same thing done by another program, or why there is nothing to compare with.
pub enum Peer {
    /// Its name and how long half of its times are at most, in milliseconds.
    Measured { name: &'static str, p50: f64 },
    /// What is missing.
    Missing { why: String },
}

/// What is to be reached.
pub enum Goal {
    /// Half of the times are at most so many milliseconds.
    P50 { milliseconds: f64 },
    /// Of a hundred times, 99 are at most so many milliseconds.
    P99 { milliseconds: f64 },
    /// Both.
    P50AndP99 { p50: f64, p99: f64 },
    /// A part of something else that has a goal.
    None,
    /// Half of the times are at most so many times those of the peer.
    Ratio { at_most: f64 },
    /// The peer takes at least so many times as long.
    Faster { at_least: f64 },
    /// A size in MB (1,000,000 bytes).
    Megabytes { at_most: f64 },
}

/// What was measured.
pub enum Value {
    /// Times.
    Times(Samples),
    /// A difference of medians, over so many measurements each, in milliseconds.
    Difference { count: usize, milliseconds: f64 },
    /// A size, in bytes.
    Bytes(u64),
}

/// One line of the table.
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// The measurement.
    pub value: Value,
    /// What to compare it with.
    pub peer: Peer,
    /// What is to be reached.
    pub goal: Goal,
}

/// The first two lines.
pub fn head() -> String {
    let columns =
        ["figure", "n", "p50", "p90", "p99", "peer", "peer p50", "ratio", "goal", "verdict"];
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

impl Row {
    fn p50(&self) -> f64 {
        match &self.value {
            Value::Times(samples) => samples.percentile(50),
            Value::Difference { milliseconds, .. } => *milliseconds,
            Value::Bytes(bytes) => *bytes as f64 / 1e6,
        }
    }

    fn p99(&self) -> f64 {
        match &self.value {
            Value::Times(samples) => samples.percentile(99),
            Value::Difference { .. } | Value::Bytes(_) => f64::NAN,
        }
    }

    fn verdict(&self) -> String {
        let measured = self.p50();
        let reached = match (&self.goal, &self.peer) {
            (Goal::P50 { milliseconds: at_most } | Goal::Megabytes { at_most }, _) => {
                measured <= *at_most
            }
            (Goal::P99 { milliseconds }, _) => self.p99() <= *milliseconds,
            (Goal::P50AndP99 { p50, p99 }, _) => measured <= *p50 && self.p99() <= *p99,
            (Goal::None, _) => return "–".to_owned(),
            (Goal::Ratio { at_most }, Peer::Measured { p50, .. }) => measured <= at_most * p50,
            (Goal::Faster { at_least }, Peer::Measured { p50, .. }) => *p50 >= at_least * measured,
            (Goal::Ratio { .. } | Goal::Faster { .. }, Peer::Missing { why }) => {
                return format!("no peer: {why}");
            }
        };
        if reached { "met" } else { "missed" }.to_owned()
    }

    fn cells(&self) -> [String; 10] {
        let time = |milliseconds: f64| format!("{milliseconds:.2} ms");
        let none = || "–".to_owned();
        let (count, p50, p90, p99) = match &self.value {
            Value::Times(samples) => (
                samples.count(),
                time(samples.percentile(50)),
                time(samples.percentile(90)),
                time(samples.percentile(99)),
            ),
            Value::Difference { count, milliseconds } => {
                (*count, format!("{milliseconds:.3} ms"), none(), none())
            }
            Value::Bytes(_) => (1, format!("{:.1} MB", self.p50()), none(), none()),
        };
        let (peer, peer_p50, ratio) = match &self.peer {
            Peer::Measured { name, p50 } => {
                ((*name).to_owned(), time(*p50), format!("{:.2}", self.p50() / p50))
            }
            Peer::Missing { .. } => (none(), none(), none()),
        };
        let goal = match &self.goal {
            Goal::P50 { milliseconds } => format!("p50 ≤ {milliseconds} ms"),
            Goal::P99 { milliseconds } => format!("p99 ≤ {milliseconds} ms"),
            Goal::P50AndP99 { p50, p99 } => format!("p50 ≤ {p50} ms, p99 ≤ {p99} ms"),
            Goal::None => none(),
            Goal::Ratio { at_most } => format!("≤ {at_most} × peer"),
            Goal::Faster { at_least } => format!("peer ≥ {at_least} × ours"),
            Goal::Megabytes { at_most } => format!("≤ {at_most} MB"),
        };
        let figure = self.figure.clone();
        let verdict = self.verdict();
        [figure, count.to_string(), p50, p90, p99, peer, peer_p50, ratio, goal, verdict]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A reason may come from another program.
        let cells = self.cells().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        writeln!(formatter, "| {} |", cells.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(milliseconds: u64, peer: Peer, goal: Goal) -> Row {
        let value = Value::Times(Samples::new(vec![Duration::from_millis(milliseconds)]));
        Row { figure: "x".to_owned(), value, peer, goal }
    }

    #[test]
    fn verdicts_follow_the_goals() {
        let peer = || Peer::Measured { name: "p", p50: 10.0 };
        let missing = || Peer::Missing { why: "not | here".to_owned() };
        for (ours, peer, goal, verdict) in [
            (30, peer(), Goal::Ratio { at_most: 3.0 }, "met"),
            (31, peer(), Goal::Ratio { at_most: 3.0 }, "missed"),
            (1, peer(), Goal::Faster { at_least: 10.0 }, "met"),
            (2, peer(), Goal::Faster { at_least: 10.0 }, "missed"),
            (2, missing(), Goal::Faster { at_least: 10.0 }, "no peer: not | here"),
            (5, missing(), Goal::P50 { milliseconds: 5.0 }, "met"),
            (6, missing(), Goal::P50 { milliseconds: 5.0 }, "missed"),
            (5, missing(), Goal::P99 { milliseconds: 5.0 }, "met"),
            (6, missing(), Goal::P99 { milliseconds: 5.0 }, "missed"),
            (5, missing(), Goal::P50AndP99 { p50: 5.0, p99: 5.0 }, "met"),
            (5, missing(), Goal::P50AndP99 { p50: 4.0, p99: 9.0 }, "missed"),
            (5, missing(), Goal::P50AndP99 { p50: 5.0, p99: 4.0 }, "missed"),
            (5, missing(), Goal::None, "–"),
        ] {
            assert_eq!(row(ours, peer, goal).verdict(), verdict);
        }
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_head() {
        let why = Peer::Missing { why: "a | b\nc".to_owned() };
        let text = row(1, why, Goal::Ratio { at_most: 1.0 }).to_string();
        let bars = text.replace("\\|", "").matches('|').count();
        assert_eq!(bars, head().lines().next().unwrap_or_default().matches('|').count());
        assert_eq!(text.lines().count(), 1);
    }
}
