//! The checks of a commit: `sandgate`, the one to require, and `sandgate / <gate>` for each gate.
//!
//! | result | conclusion | because |
//! |---|---|---|
//! | success | success | |
//! | failure | failure | |
//! | error | failure | ours, but nothing was proven: it must not let a merge through; the title says so |
//! | timeout | timed out | |
//! | cancellation | cancelled | |
//! | skip | skipped | passes where it is required, as in the verdict |
//! | a gate that does not decide, and did not pass | neutral | shown, and blocks nothing |
//! | shadow mode | neutral | the same, for the one check that is written |
//! | held fork | action required | |

use sandgate_domain::GateResult;
use sandgate_forge::CommitId;

use crate::comment::verdict;
use crate::markdown::{code, line, lines, link};
use crate::report::{GateReport, Mode, RunReport, TestFailure, duration};

/// The name of the aggregate.
pub const AGGREGATE: &str = "sandgate";
/// The most annotations that a forge takes at once.
pub const MAX_ANNOTATIONS: usize = 50;
const MAX_SUMMARY_BYTES: usize = 65_535;
const MAX_TITLE_CHARACTERS: usize = 200;
const MAX_NAME_CHARACTERS: usize = 100;
const MAX_MESSAGE_CHARACTERS: usize = 4_000;
const MAX_PATH_BYTES: usize = 1_024;

/// One check of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: the same for every commit.
    pub name: String,
    /// The commit.
    pub head: CommitId,
    /// Our id of what it shows.
    pub external_id: String,
    /// How it stands; none while it is under way.
    pub conclusion: Option<Conclusion>,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// Places in files, at most [`MAX_ANNOTATIONS`].
    pub annotations: Vec<Annotation>,
    /// The page behind it.
    pub details_url: Option<String>,
}

/// How a check ended, in the forge's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// It passed.
    Success,
    /// It did not.
    Failure,
    /// It says something and blocks nothing.
    Neutral,
    /// It was stopped.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// It had nothing to do.
    Skipped,
    /// Somebody has to act first.
    ActionRequired,
}

impl Conclusion {
    /// The forge's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Neutral => "neutral",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::ActionRequired => "action_required",
        }
    }
}

/// A remark at a place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The file, relative to the top of the repository.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// Whether it blocks.
    pub is_failure: bool,
    /// One line.
    pub title: String,
    /// Plain text.
    pub message: String,
}

/// What a forge is told about a result.
pub fn conclusion(result: GateResult) -> Conclusion {
    match result {
        GateResult::Success => Conclusion::Success,
        GateResult::Failure | GateResult::Error => Conclusion::Failure,
        GateResult::Timeout => Conclusion::TimedOut,
        GateResult::Cancellation => Conclusion::Cancelled,
        GateResult::Skip => Conclusion::Skipped,
    }
}

/// The name of a gate's check.
pub fn gate_check_name(gate: &str) -> String {
    format!("{AGGREGATE} / {}", line(gate, MAX_NAME_CHARACTERS))
}

/// All checks of a run: the aggregate first. In shadow mode it is the only one.
pub fn of_run(report: &RunReport) -> Vec<Check> {
    let mut checks = vec![aggregate(report)];
    if report.mode == Mode::Enforce {
        checks.extend(report.gates.iter().map(|gate| gate_check(report, gate)));
    }
    checks
}

/// The check of a head that waits for an approval.
pub fn held(number: u64, head: &CommitId) -> Check {
    Check {
        summary: format!(
            "Nothing of this fork runs before a member has looked at `{head}`: `sandgate pr approve {number} --sha {head}`"
        ),
        ..ended(head, Conclusion::ActionRequired, "waits for the approval of this commit")
    }
}

/// The check of a head for which no run could be planned: a conflict, a wrong configuration.
pub fn not_planned(head: &CommitId, reason: &str) -> Check {
    Check {
        summary: format!("No gate could start: {}", code(reason, MAX_MESSAGE_CHARACTERS)),
        ..ended(head, Conclusion::Failure, reason)
    }
}

/// The check of a head whose run is cancelled, as the pull request went on without it.
pub fn superseded(head: &CommitId) -> Check {
    ended(head, Conclusion::Cancelled, "cancelled: the pull request changed")
}

fn ended(head: &CommitId, conclusion: Conclusion, title: &str) -> Check {
    Check {
        name: AGGREGATE.to_owned(),
        head: head.clone(),
        external_id: head.to_string(),
        conclusion: Some(conclusion),
        title: line(title, MAX_TITLE_CHARACTERS),
        summary: String::new(),
        annotations: Vec::new(),
        details_url: None,
    }
}

fn aggregate(report: &RunReport) -> Check {
    let shadow = if report.mode == Mode::Shadow { "shadow, " } else { "" };
    let conclusion = match report.mode {
        Mode::Enforce => report.result.map(conclusion),
        Mode::Shadow => report.result.map(|_| Conclusion::Neutral),
    };
    let entries = report.gates.iter().map(|gate| entry(gate) + "\n");
    let failures = report.gates.iter().flat_map(|gate| {
        let is_failure = gate.is_blocking && report.mode == Mode::Enforce;
        gate.failures.iter().map(move |failure| (failure, is_failure))
    });
    Check {
        name: AGGREGATE.to_owned(),
        head: report.head.clone(),
        external_id: report.run.to_string(),
        conclusion,
        title: line(&format!("{shadow}{}", report.headline()), MAX_TITLE_CHARACTERS),
        summary: bounded(entries),
        annotations: annotations(failures),
        details_url: page(report),
    }
}

fn gate_check(report: &RunReport, gate: &GateReport) -> Check {
    let conclusion = gate.result.map(|result| {
        if gate.is_blocking || result.passes() { conclusion(result) } else { Conclusion::Neutral }
    });
    let reason = gate.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let title = format!("{}{reason}", verdict(gate.result).1);
    let command = gate.debug_snapshot.map(|snapshot| {
        let command = code(&crate::comment::debug_command(report, &gate.name), 1_000);
        format!("\nEnter exactly this state (snapshot `{snapshot}`): {command}\n\n")
    });
    let failures = gate.failures.iter().map(|failure| {
        format!("- {}: {}\n", code(&failure.name, 300), code(&failure.message, 300))
    });
    let pieces = [entry(gate) + "\n"].into_iter().chain(command).chain(failures);
    Check {
        name: gate_check_name(&gate.name),
        head: report.head.clone(),
        external_id: format!("{}/{}", report.run, line(&gate.name, MAX_NAME_CHARACTERS)),
        conclusion,
        title: line(&title, MAX_TITLE_CHARACTERS),
        summary: bounded(pieces),
        annotations: annotations(gate.failures.iter().map(|failure| (failure, gate.is_blocking))),
        details_url: page(report),
    }
}

/// The one line on a gate.
fn entry(gate: &GateReport) -> String {
    let (icon, word) = verdict(gate.result);
    let mut text = format!("- {icon} {} {word}", code(&gate.name, MAX_NAME_CHARACTERS));
    if gate.result.is_some() {
        text.push_str(&format!(", {}", duration(gate.duration_ms)));
    }
    if let Some(tests) = gate.tests {
        text.push_str(&format!(", {} tests, {} failed", tests.total, tests.failed));
    }
    if !gate.is_blocking {
        text.push_str(", does not decide");
    }
    if let Some(reason) = &gate.reason {
        text.push_str(&format!(": {}", code(reason, 300)));
    }
    text
}

/// Whole pieces up to the limit, and how many were left out.
fn bounded(pieces: impl Iterator<Item = String>) -> String {
    let room = MAX_SUMMARY_BYTES - 100;
    let (mut text, mut left_out) = (String::new(), 0_usize);
    for piece in pieces {
        if text.len() + piece.len() <= room {
            text.push_str(&piece);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\n+{left_out} more\n"));
    }
    text
}

fn annotations<'a>(failures: impl Iterator<Item = (&'a TestFailure, bool)>) -> Vec<Annotation> {
    failures
        .filter_map(|(failure, is_failure)| annotation(failure, is_failure))
        .take(MAX_ANNOTATIONS)
        .collect()
}

/// A remark needs a place; a failure without one is in the summary only.
fn annotation(failure: &TestFailure, is_failure: bool) -> Option<Annotation> {
    let path = inner_path(failure.file.as_deref()?)?;
    let message = lines(&failure.message, MAX_MESSAGE_CHARACTERS);
    let title = line(&failure.name, MAX_TITLE_CHARACTERS);
    Some(Annotation {
        path: path.to_owned(),
        line: failure.line.unwrap_or(1).max(1),
        is_failure,
        message: if message.is_empty() { title.clone() } else { message },
        title,
    })
}

/// A path that stays inside the repository.
fn inner_path(path: &str) -> Option<&str> {
    let path = path.trim_start_matches("./");
    let is_good = !path.is_empty()
        && path.len() <= MAX_PATH_BYTES
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_good.then_some(path)
}

fn page(report: &RunReport) -> Option<String> {
    report.page.as_deref().and_then(link).map(str::to_owned)
}

#[cfg(test)]
mod tests;
