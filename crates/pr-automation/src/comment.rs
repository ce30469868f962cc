//! Every text that we write under a pull request. There is one comment a pull request, found by its hidden marker and
//! changed in place; the same state gives the same text, so that an unchanged one is not written again.

mod bounded;

use sandgate_domain::GateResult;
use sandgate_forge::{CommitId, RepositoryName};

use self::bounded::Bounded;
use crate::markdown::{cell, code, line, link, shell_word};
use crate::report::{GateReport, Mode, RunReport, TestFailure, duration};

/// The most that a forge takes; ours are held below it in bytes, which are never fewer than characters.
pub const MAX_BYTES: usize = 65_535;
const TABLE_BYTES: usize = 30_000;
const FOOTER_BYTES: usize = 3_000;
const SHOWN_FAILURES: usize = 10;
const SHOWN_PATHS: usize = 20;
const NAME_CHARACTERS: usize = 100;
const TEXT_CHARACTERS: usize = 300;

/// What there is to say about a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Its head waits for an approval.
    Held {
        /// The head.
        head: &'a CommitId,
    },
    /// It can't be merged, so there is nothing to run.
    Conflict {
        /// The head.
        head: &'a CommitId,
        /// The paths in conflict.
        paths: &'a [String],
    },
    /// No run could be planned.
    NotPlanned {
        /// The head.
        head: &'a CommitId,
        /// Why, and what to do.
        reason: &'a str,
    },
    /// A run, finished or under way.
    Run(&'a RunReport),
}

/// The hidden line by which the comment of a pull request is found again.
pub fn marker(repository: &RepositoryName, number: u64) -> String {
    format!("<!-- sandgate:{}#{number} -->", repository.key())
}

/// The whole comment.
pub fn render(repository: &RepositoryName, number: u64, subject: Subject<'_>) -> String {
    let mut text = Bounded::new(MAX_BYTES);
    text.push(&marker(repository, number));
    text.push("\n");
    match subject {
        Subject::Held { head } => held(&mut text, number, head),
        Subject::Conflict { head, paths } => conflict(&mut text, head, paths),
        Subject::NotPlanned { head, reason } => not_planned(&mut text, head, reason),
        Subject::Run(report) => run(&mut text, report),
    }
    text.finish()
}

fn held(text: &mut Bounded, number: u64, head: &CommitId) {
    text.push("### ✋ Sandgate: action required\n\n");
    text.push(&format!(
        "This pull request comes from a fork. Nothing of it runs before a member has looked at `{head}` and approved \
         exactly that commit:\n\n`sandgate pr approve {number} --sha {head}`\n"
    ));
}

fn conflict(text: &mut Bounded, head: &CommitId, paths: &[String]) {
    text.push("### ❌ Sandgate: failure\n\n");
    text.push(&format!(
        "`{}` conflicts with the base branch, so there is no merge to run. Merge or rebase onto the base branch:\n\n",
        head.short()
    ));
    for path in paths.iter().take(SHOWN_PATHS) {
        text.push(&format!("- {}\n", code(path, TEXT_CHARACTERS)));
    }
    text.push(&more(paths.len().saturating_sub(SHOWN_PATHS)));
}

fn not_planned(text: &mut Bounded, head: &CommitId, reason: &str) {
    text.push("### ⚠️ Sandgate: error\n\n");
    let reason = code(reason, 2_000);
    text.push(&format!("No gate of `{}` could start: {reason}\n", head.short()));
}

fn run(text: &mut Bounded, report: &RunReport) {
    let (icon, word) = verdict(report.result);
    let shadow = if report.mode == Mode::Shadow { " (shadow: blocks nothing)" } else { "" };
    text.push(&format!("### {icon} Sandgate: {word}{shadow}\n\n"));
    let tally = report.tally();
    let count = match (report.result, tally.bad) {
        (None, _) => format!("{} of {} gates ended", tally.finished, tally.gates),
        (Some(_), 0) => format!("{} gates", tally.gates),
        (Some(_), bad) => format!("{bad} of {} gates did not pass", tally.gates),
    };
    let time =
        report.result.map_or(String::new(), |_| format!(" in {}", duration(report.duration_ms)));
    text.push(&format!("{count} for `{}`{time}.\n\n", report.head.short()));
    table(text, &report.gates);
    let room_for_details = MAX_BYTES - FOOTER_BYTES;
    let with_details = report.gates.iter().filter(|gate| has_details(gate));
    let left_out = with_details
        .filter(|gate| !text.push_within(&details(report, gate), room_for_details))
        .count();
    if left_out > 0 {
        text.push(&format!("\nDetails of {left_out} more gates are on the page of the run.\n"));
    }
    footer(text, report);
}

fn table(text: &mut Bounded, gates: &[GateReport]) {
    if gates.is_empty() {
        return;
    }
    text.push("| gate | result | time | tests |\n|---|---|---|---|\n");
    let left_out = gates.iter().filter(|gate| !text.push_within(&row(gate), TABLE_BYTES)).count();
    text.push(&more(left_out));
}

fn row(gate: &GateReport) -> String {
    let (icon, word) = verdict(gate.result);
    let note = if gate.is_blocking { "" } else { " (does not decide)" };
    let time = gate.result.map_or(String::new(), |_| duration(gate.duration_ms));
    let tests = match gate.tests {
        Some(tests) if tests.failed > 0 => format!("{}, {} failed", tests.total, tests.failed),
        Some(tests) => tests.total.to_string(),
        None => String::new(),
    };
    let name = cell(&gate.name, NAME_CHARACTERS);
    format!("| {name} | {icon} {word}{note} | {time} | {tests} |\n")
}

fn has_details(gate: &GateReport) -> bool {
    gate.reason.is_some() || !gate.failures.is_empty() || gate.debug_snapshot.is_some()
}

fn details(report: &RunReport, gate: &GateReport) -> String {
    let (icon, word) = verdict(gate.result);
    let mut text = format!("\n**{icon}** {} **{word}**", code(&gate.name, NAME_CHARACTERS));
    if gate.attempts > 1 {
        text.push_str(&format!(" after {} attempts", gate.attempts));
    }
    if let Some(reason) = &gate.reason {
        text.push_str(&format!(": {}", code(reason, TEXT_CHARACTERS)));
    }
    text.push_str("\n\n");
    for failure in gate.failures.iter().take(SHOWN_FAILURES) {
        text.push_str(&failing_test(failure));
    }
    text.push_str(&more(gate.failures.len().saturating_sub(SHOWN_FAILURES)));
    if let Some(snapshot) = gate.debug_snapshot {
        let command = code(&debug_command(report, &gate.name), 1_000);
        text.push_str(&format!("\nEnter exactly this state (snapshot `{snapshot}`): {command}\n"));
    }
    text
}

fn failing_test(failure: &TestFailure) -> String {
    let name = code(&failure.name, TEXT_CHARACTERS);
    let place = match (&failure.file, failure.line) {
        (Some(file), Some(number)) => {
            format!(" at {}", code(&format!("{file}:{number}"), TEXT_CHARACTERS))
        }
        (Some(file), None) => format!(" in {}", code(file, TEXT_CHARACTERS)),
        (None, _) => String::new(),
    };
    let first = failure.message.lines().find(|line| !line.trim().is_empty());
    let said = first.map_or(String::new(), |said| format!(": {}", code(said, TEXT_CHARACTERS)));
    format!("- {name}{place}{said}\n")
}

fn footer(text: &mut Bounded, report: &RunReport) {
    if let Some(snapshot) = report.approved_snapshot {
        text.push(&format!("\nApproved snapshot: `{snapshot}`\n"));
    }
    let address = report.page.as_deref().and_then(link);
    match address {
        Some(address) => {
            text.push(&format!("\n[Logs and everything else of this run]({address})\n"))
        }
        None => text.push(&format!("\nRun `{}`\n", report.run)),
    }
}

/// The command that opens a shell where a gate ended.
pub fn debug_command(report: &RunReport, gate: &str) -> String {
    let place = report
        .data_dir
        .as_ref()
        .map_or(String::new(), |folder| format!(" --data-dir {}", shell_word(folder)));
    let word = shell_word(&line(gate, NAME_CHARACTERS));
    if gate.starts_with('-') {
        return format!("sandgate debug --run {}{place} -- {word}", report.run);
    }
    format!("sandgate debug {word} --run {}{place}", report.run)
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!("\n+{count} more\n") }
}

/// The icon and the word of a result; colour alone tells nothing.
pub fn verdict(result: Option<GateResult>) -> (&'static str, &'static str) {
    match result {
        None => ("⏳", "running"),
        Some(GateResult::Success) => ("✅", "success"),
        Some(GateResult::Failure) => ("❌", "failure"),
        Some(GateResult::Error) => ("⚠️", "error"),
        Some(GateResult::Timeout) => ("⏱️", "timeout"),
        Some(GateResult::Cancellation) => ("🚫", "cancellation"),
        Some(GateResult::Skip) => ("⏭️", "skip"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
