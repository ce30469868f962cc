//! What the output of a gate tells about its tests, for tools that write no report: cargo, node, pytest, unittest and go.
//!
//! The text is as trustworthy as the code under test. It decides nothing: it names the failing tests with their place and
//! adds a hint to the reason. Report files come before it.

use std::collections::BTreeSet;

use crate::config::printable;
use crate::junit::{TestFailure, place};

mod counts;
mod tools;

use counts::Counts;
use tools::{Start, Tool};

/// The longest line that is looked at whole, in bytes.
const LINE_BYTES: usize = 4096;
/// How much of one stream is looked at, in bytes.
const STREAM_BYTES: u64 = 64 << 20;
/// How many lines belong to one failing test at most.
const BLOCK_LINES: usize = 80;
/// How many failing tests are kept.
const FAILURES: usize = 100;
/// How much of a name or message is kept, in characters.
const TEXT: usize = 2000;

/// What was found in the output of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// How many tests there were, where the tool tells.
    pub tests: Option<u64>,
    /// How many failed.
    pub failed: u64,
    /// How many were left out.
    pub skipped: u64,
    /// The first of those that failed.
    pub failures: Vec<TestFailure>,
    /// What the words of error messages hint at.
    pub hints: BTreeSet<Hint>,
}

/// A trouble that comes from the sandbox and not from the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// A name could not be resolved, or nothing is reachable.
    Unreachable,
    /// Something was to be written on a read-only file system.
    ReadOnly,
}

/// Words of the C library, curl, node, go, rust and python, in lower case.
const HINTS: &[(&str, Hint)] = &[
    ("eai_again", Hint::Unreachable),
    ("enotfound", Hint::Unreachable),
    ("enetunreach", Hint::Unreachable),
    ("could not resolve host", Hint::Unreachable),
    ("couldn't resolve host", Hint::Unreachable),
    ("name resolution", Hint::Unreachable),
    ("name or service not known", Hint::Unreachable),
    ("failed to lookup address", Hint::Unreachable),
    ("network is unreachable", Hint::Unreachable),
    ("no such host", Hint::Unreachable),
    ("read-only file system", Hint::ReadOnly),
    ("erofs", Hint::ReadOnly),
];

/// Reads one stream as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    seen: u64,
    open: Option<Block>,
    counts: Counts,
    failures: Vec<TestFailure>,
    hints: BTreeSet<Hint>,
    /// The line `test at file:line:column` of node, which stands before the name.
    announced: Option<String>,
}

/// The lines about one failing test.
#[derive(Debug)]
struct Block {
    tool: Tool,
    name: String,
    lines: Vec<String>,
}

impl Reader {
    /// Takes in the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.seen >= STREAM_BYTES {
            return;
        }
        self.seen += bytes.len() as u64;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(&line);
            }
        }
    }

    /// What was found when the stream has ended.
    pub fn finish(mut self) -> Found {
        let line = std::mem::take(&mut self.line);
        self.take(&line);
        self.close();
        let is_parent = |name: &str, all: &[TestFailure]| {
            all.iter().any(|other| {
                other.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
            })
        };
        let all = self.failures.clone();
        self.failures.retain(|failure| !is_parent(&failure.name, &all));
        let totals = self.counts.totals();
        Found {
            tests: totals.map(|totals| totals.tests),
            failed: totals.map_or(self.failures.len() as u64, |totals| totals.failed),
            skipped: totals.map_or(0, |totals| totals.skipped),
            failures: self.failures,
            hints: self.hints,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let text = without_colours(&String::from_utf8_lossy(bytes));
        let line = text.trim_end();
        let lower = line.to_ascii_lowercase();
        let hints = HINTS.iter().filter(|(words, _)| lower.contains(words));
        self.hints.extend(hints.map(|(_, hint)| *hint));
        self.counts.line(line);
        let announced = self.announced.take();
        match tools::start(line, announced.as_deref()) {
            Some(Start::Announced) => self.announced = Some(line.to_owned()),
            Some(Start::Test { tool, name }) => {
                self.close();
                let lines = announced.into_iter().collect();
                self.open = Some(Block { tool, name: name.to_owned(), lines });
            }
            Some(Start::End) => self.close(),
            None => self.go_on(line),
        }
    }

    fn go_on(&mut self, line: &str) {
        let Some(block) = &mut self.open else { return };
        block.lines.push(line.to_owned());
        if block.lines.len() >= BLOCK_LINES {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(block) = self.open.take() else { return };
        let Some(failure) = block.failure() else { return };
        let is_known = self.failures.iter().any(|known| known.name == failure.name);
        if !is_known && self.failures.len() < FAILURES {
            self.failures.push(failure);
        }
    }
}

impl Block {
    /// The failing test; none for a group that failed because of a test in it.
    fn failure(self) -> Option<TestFailure> {
        if self.tool == Tool::Tap && self.lines.iter().any(|line| line.contains("'subtestsFailed'"))
        {
            return None;
        }
        let whole = self.lines.join("\n");
        // The line that threw tells more than the line where the test begins.
        let telling = match self.tool {
            Tool::Tap => whole.split_once("stack:").map_or("", |(_, stack)| stack).to_owned(),
            Tool::NodeSpec => self.lines.iter().skip(1).cloned().collect::<Vec<_>>().join("\n"),
            Tool::Libtest | Tool::Pytest | Tool::Unittest | Tool::Go => String::new(),
        };
        let found = place::find(&[&telling, &whole], None, "");
        let message = tools::message(self.tool, &self.lines).unwrap_or_default();
        Some(TestFailure {
            name: printable(&self.name, TEXT),
            class: None,
            file: found.as_ref().map(|place| place.file.clone()),
            line: found.map(|place| place.line),
            message: printable(message, TEXT),
        })
    }
}

impl Found {
    /// Both streams of a gate together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.tests = match (self.tests, other.tests) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            (one, two) => one.or(two),
        };
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES);
        self.hints.extend(other.hints);
        self
    }

    /// Whether there is anything about tests.
    pub fn tells_of_tests(&self) -> bool {
        self.tests.is_some_and(|tests| tests > 0) || !self.failures.is_empty()
    }
}

/// The text without the escape sequences that colour it.
fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let body = &rest[at + 2..];
        let end = body.find(|c: char| c.is_ascii_alphabetic()).map_or(body.len(), |end| end + 1);
        rest = &body[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
