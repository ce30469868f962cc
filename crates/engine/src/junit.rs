//! JUnit XML reports: how many tests there were, which failed, and where in the source.
//!
//! There is no standard; what pytest, cargo-nextest, jest-junit, gotestsum and Maven surefire write is understood. Counts come
//! from the test cases, not from the attributes of suites, which disagree between tools. Entities other than the five of XML
//! are not expanded.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use sandgate_domain::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::config::printable;

pub(crate) mod place;

/// How much of a report is read and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest report, in bytes.
    pub bytes: usize,
    /// The deepest nesting of elements.
    pub depth: usize,
    /// How many failing tests are kept; all are counted.
    pub failures: usize,
    /// How much of a message or name is kept, in characters.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 << 20, depth: 64, failures: 100, text: 2000 }
    }
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JunitReport {
    /// All test cases.
    pub tests: u64,
    /// Those with a failed assertion.
    pub failed: u64,
    /// Those that could not be carried out.
    pub errors: u64,
    /// Those left out.
    pub skipped: u64,
    /// The first of the failed and erroneous ones, at most [`Limits::failures`].
    pub failures: Vec<TestFailure>,
}

/// One test that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestFailure {
    /// Its name.
    pub name: String,
    /// Its class, module or package, as the tool calls it.
    pub class: Option<String>,
    /// The file, as the tool writes it: relative to the folder of the gate, or absolute inside of the sandbox.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The message in one line.
    pub message: String,
}

/// Why a report can't be read.
#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    /// Larger than [`Limits::bytes`].
    #[error("the report has {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Nested deeper than [`Limits::depth`].
    #[error("the report is nested deeper than {limit} elements")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// Not XML.
    #[error("the report is not XML at byte {offset}")]
    Syntax {
        /// Where.
        offset: u64,
        /// What the parser says.
        #[source]
        source: Box<quick_xml::Error>,
    },
    /// XML that ends in the middle.
    #[error("the report ends in the middle; was its writer ended early?")]
    Truncated,
    /// XML of another kind.
    #[error("the report has no `testsuite` element, so it is not JUnit")]
    NotJunit,
}

impl JunitError {
    /// The general code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::TooDeep { .. } => ErrorCode::ResourceExhausted,
            Self::Syntax { .. } | Self::Truncated | Self::NotJunit => ErrorCode::InvalidArgument,
        }
    }
}

/// The reports of one gate together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The sums, and the first failing tests of all files.
    pub report: JunitReport,
    /// What could not be read. It does not change the result of the gate.
    pub warnings: Vec<String>,
}

/// Adds up the reports that a gate was asked for, by path. Unreadable or missing reports are warnings: what decides is the
/// exit status of the commands.
pub fn summarise(files: Vec<(String, Result<JunitReport, JunitError>)>, limits: Limits) -> Summary {
    let mut summary = Summary::default();
    if files.is_empty() {
        summary.warnings.push("no file matches `reports.junit`".to_owned());
    }
    for (path, parsed) in files {
        match parsed {
            Ok(report) => {
                let sum = &mut summary.report;
                sum.tests += report.tests;
                sum.failed += report.failed;
                sum.errors += report.errors;
                sum.skipped += report.skipped;
                let room = limits.failures.saturating_sub(sum.failures.len());
                sum.failures.extend(report.failures.into_iter().take(room));
            }
            Err(error) => summary.warnings.push(format!("{}: {error}", printable(&path, 200))),
        }
    }
    summary
}

/// Reads one report. Bytes that are no UTF-8 are replaced, since tools copy the output of tests into their reports.
///
/// # Errors
/// A report that is too large, too deep, no XML, or no JUnit.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<JunitReport, JunitError> {
    if bytes.len() > limits.bytes {
        return Err(JunitError::TooLarge { bytes: bytes.len(), limit: limits.bytes });
    }
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().allow_dangling_amp = true;
    let mut collector = Collector { limits, ..Collector::default() };
    let mut depth = 0_usize;
    loop {
        let event = reader.read_event().map_err(|error| JunitError::Syntax {
            offset: reader.error_position(),
            source: Box::new(error),
        })?;
        match event {
            Event::Start(element) => {
                depth += 1;
                if depth > limits.depth {
                    return Err(JunitError::TooDeep { limit: limits.depth });
                }
                collector.start(&element);
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                collector.end(element.local_name().as_ref());
            }
            Event::Text(text) => collector.text(&String::from_utf8_lossy(&text)),
            Event::CData(text) => collector.text(&String::from_utf8_lossy(&text)),
            Event::GeneralRef(entity) => {
                let written = format!("&{};", String::from_utf8_lossy(&entity));
                collector.text(unescape(&written).as_deref().unwrap_or(&written));
            }
            Event::Eof => break,
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
    match (collector.is_junit, depth) {
        (_, 1..) => Err(JunitError::Truncated),
        (false, _) => Err(JunitError::NotJunit),
        (true, _) => Ok(collector.report),
    }
}

/// How much text of one test case is searched for a place, in bytes.
const MAX_BODY: usize = 64 * 1024;

#[derive(Default)]
struct Collector {
    limits: Limits,
    is_junit: bool,
    report: JunitReport,
    case: Option<Case>,
}

/// The test case that is being read.
#[derive(Default)]
struct Case {
    name: String,
    class: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    verdict: Option<Verdict>,
    message: Option<String>,
    /// The text of the failure, then what the test printed.
    body: String,
    output: String,
    /// Whether text belongs to the failure, to the output, or to nothing.
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Failed,
    Error,
    Skipped,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Target {
    #[default]
    Nothing,
    Body,
    Output,
}

impl Collector {
    fn start(&mut self, element: &BytesStart<'_>) {
        let name = element.local_name();
        match name.as_ref() {
            b"testsuite" | b"testsuites" => self.is_junit = true,
            b"testcase" => self.case = Some(self.open(element)),
            b"failure" => self.verdict(element, Verdict::Failed),
            b"error" => self.verdict(element, Verdict::Error),
            b"skipped" => self.verdict(element, Verdict::Skipped),
            b"system-out" | b"system-err" => self.target(Target::Output),
            _ => {}
        }
    }

    fn end(&mut self, name: &[u8]) {
        match name {
            b"testcase" => {
                if let Some(case) = self.case.take() {
                    self.close(case);
                }
            }
            b"failure" | b"error" | b"skipped" | b"system-out" | b"system-err" => {
                self.target(Target::Nothing);
            }
            _ => {}
        }
    }

    fn open(&self, element: &BytesStart<'_>) -> Case {
        let mut case = Case::default();
        for (key, value) in attributes(element) {
            match key.as_str() {
                "name" => case.name = printable(&value, self.limits.text),
                "classname" => case.class = Some(printable(&value, self.limits.text)),
                "file" => case.file = Some(value).filter(|file| file.len() <= 1024),
                "line" => case.line = value.parse().ok(),
                _ => {}
            }
        }
        case
    }

    /// A case can carry several; an assertion weighs more than an error of the teardown, and both more than a skip.
    fn verdict(&mut self, element: &BytesStart<'_>, verdict: Verdict) {
        let Some(case) = &mut self.case else { return };
        case.verdict = match (case.verdict, verdict) {
            (Some(Verdict::Failed), _) | (_, Verdict::Failed) => Some(Verdict::Failed),
            (Some(Verdict::Error), _) | (_, Verdict::Error) => Some(Verdict::Error),
            (_, Verdict::Skipped) => Some(Verdict::Skipped),
        };
        if verdict == Verdict::Skipped {
            return;
        }
        let message = attributes(element).find(|(key, _)| key == "message");
        if case.message.is_none() {
            case.message = message.map(|(_, value)| value).filter(|value| !value.trim().is_empty());
        }
        case.target = Target::Body;
    }

    fn target(&mut self, target: Target) {
        if let Some(case) = &mut self.case {
            case.target = target;
        }
    }

    fn text(&mut self, text: &str) {
        let Some(case) = &mut self.case else { return };
        let kept = match case.target {
            Target::Nothing => return,
            Target::Body => &mut case.body,
            Target::Output => &mut case.output,
        };
        let room = MAX_BODY.saturating_sub(kept.len());
        kept.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn close(&mut self, case: Case) {
        self.report.tests += 1;
        match case.verdict {
            None => return,
            Some(Verdict::Skipped) => {
                self.report.skipped += 1;
                return;
            }
            Some(Verdict::Failed) => self.report.failed += 1,
            Some(Verdict::Error) => self.report.errors += 1,
        }
        if self.report.failures.len() < self.limits.failures {
            let failure = failure(case, self.limits.text);
            self.report.failures.push(failure);
        }
    }
}

fn failure(case: Case, limit: usize) -> TestFailure {
    let message = case.message.unwrap_or_default();
    let texts = [message.as_str(), case.body.as_str(), case.output.as_str()];
    let class = case.class.as_deref().unwrap_or_default();
    let place = place::find(&texts, case.file.as_deref(), class);
    // A place in the text is where it failed; the attributes are often where the test begins.
    let (file, line) = match place {
        Some(place) => (Some(place.file), Some(place.line)),
        None => (case.file, case.line),
    };
    let first_line = |text: &str| {
        text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    };
    let message =
        if message.trim().is_empty() { first_line(&case.body) } else { first_line(&message) };
    TestFailure {
        name: case.name,
        class: case.class.filter(|class| !class.is_empty()),
        file: file.map(|file| printable(&file, limit)),
        line,
        message: printable(&message, limit),
    }
}

/// The first attributes of an element, without looking for repetitions, which would take quadratic time.
fn attributes(element: &BytesStart<'_>) -> impl Iterator<Item = (String, String)> {
    let attributes: Vec<(String, String)> = element
        .attributes()
        .with_checks(false)
        .take(64)
        .flatten()
        .map(|attribute| {
            let raw = String::from_utf8_lossy(&attribute.value);
            let value =
                unescape(&raw).map_or_else(|_| raw.clone().into_owned(), |v| v.into_owned());
            (String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned(), value)
        })
        .collect();
    attributes.into_iter()
}

#[cfg(test)]
mod tests;
