//! What the report files of a gate say, and what else a person should know about how it ended.

use sandgate_engine::config::Network;
use sandgate_engine::junit::{self, Limits, Summary};
use sandgate_engine::output::{Found, Hint};
use sandgate_engine::plan::PlannedGate;
use sandgate_engine::run::Outcome;
use sandgate_wire::node::v1::read_files_reply::Found as Item;
use serde_json::json;

use crate::error::Error;
use crate::held::Held;
use crate::runner::Runner;

/// How many report files are read.
const MAX_FILES: u32 = 200;
/// How much of one report file is read.
const MAX_BYTES: u64 = 16 << 20;
/// How much of all report files together is read.
const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Where the checkout is inside a sandbox.
const WORKSPACE: &str = "/workspace/";

/// What report files and output tell.
pub(crate) struct Findings {
    /// None if no reports were asked for.
    reports: Option<Summary>,
    output: Found,
}

impl Runner {
    /// Reads the JUnit files that a gate wrote. What can't be read is a warning, never a result.
    pub(crate) async fn findings(
        &self,
        held: &Held,
        gate: &PlannedGate,
        output: Found,
    ) -> Findings {
        let folder = gate.dir.as_ref().map(|dir| format!("{dir}/")).unwrap_or_default();
        let mut findings = Findings::of_output(output);
        if !gate.junit.is_empty() {
            let patterns = gate.junit.iter().map(|glob| format!("{folder}{glob}")).collect();
            findings.reports = Some(read_reports(held, patterns).await);
        }
        let reported = findings.reports.iter_mut().flat_map(|summary| &mut summary.report.failures);
        for failure in reported.chain(&mut findings.output.failures) {
            failure.file = failure.file.take().map(|file| from_root(&folder, &held.inside(&file)));
        }
        findings
    }
}

async fn read_reports(held: &Held, patterns: Vec<String>) -> Summary {
    match read_files(held, patterns).await {
        Ok(summary) => summary,
        Err(error) => {
            let warnings = vec![format!("reports could not be read: {}", error.chain())];
            Summary { warnings, ..Summary::default() }
        }
    }
}

async fn read_files(held: &Held, patterns: Vec<String>) -> Result<Summary, Error> {
    let mut files = Vec::new();
    let mut left_out = Vec::new();
    let mut found = held.read_files(patterns, MAX_FILES, MAX_BYTES, MAX_TOTAL_BYTES).await?;
    while let Some(message) = found.message().await? {
        match message.found {
            Some(Item::File(file)) => {
                files.push((file.path, junit::parse(&file.content, Limits::default())));
            }
            Some(Item::LeftOut(reason)) => left_out.push(reason),
            None => {}
        }
    }
    let mut summary = junit::summarise(files, Limits::default());
    summary.warnings.extend(left_out);
    Ok(summary)
}

/// The path of a file as a tool wrote it, from the root of the repository.
fn from_root(folder: &str, file: &str) -> String {
    match file.strip_prefix(WORKSPACE) {
        Some(path) => path.to_owned(),
        None if file.starts_with('/') => file.to_owned(),
        None => format!("{folder}{}", file.strip_prefix("./").unwrap_or(file)),
    }
}

impl Findings {
    /// What the output alone tells.
    pub(crate) fn of_output(output: Found) -> Self {
        Self { reports: None, output }
    }

    /// Counts, failing tests and warnings as JSON. Report files come first; without tests in them, the output tells.
    pub(crate) fn json(&self) -> Option<String> {
        let warnings = self.reports.as_ref().map(|summary| summary.warnings.as_slice());
        let warnings = warnings.unwrap_or_default();
        let report = self.reports.as_ref().map(|summary| &summary.report);
        let value = match report.filter(|report| report.tests > 0 || !self.output.tells_of_tests())
        {
            Some(report) => json!({
                "source": "files",
                "tests": report.tests,
                "failed": report.failed + report.errors,
                "skipped": report.skipped,
                "failures": report.failures,
                "warnings": warnings,
            }),
            None if self.output.tells_of_tests() => json!({
                "source": "output",
                "tests": self.output.tests,
                "failed": self.output.failed,
                "skipped": self.output.skipped,
                "failures": self.output.failures,
                "warnings": warnings,
            }),
            None => return None,
        };
        Some(value.to_string())
    }

    /// What a person should know beside the exit status of commands that did not pass.
    pub(crate) fn note(
        &self,
        incidents: &[String],
        outcome: &Outcome,
        network: Network,
    ) -> Option<String> {
        if *outcome == Outcome::Exited(0) {
            return None;
        }
        let incidents = incidents.iter().take(3).cloned();
        let hints = self.output.hints.iter().filter_map(|hint| hint_text(*hint, network));
        let notes: Vec<String> =
            self.counted().into_iter().chain(incidents).chain(hints.map(str::to_owned)).collect();
        if notes.is_empty() { None } else { Some(notes.join("; ")) }
    }

    fn counted(&self) -> Option<String> {
        let report = self.reports.as_ref().map(|summary| &summary.report);
        let counts = match report.filter(|report| report.tests > 0) {
            Some(report) => (report.failed + report.errors, Some(report.tests)),
            None => (self.output.failed, self.output.tests),
        };
        match counts {
            (0, _) => None,
            (failed, Some(tests)) => Some(format!("{failed} of {tests} tests failed")),
            (1, None) => Some("1 test failed".to_owned()),
            (failed, None) => Some(format!("{failed} tests failed")),
        }
    }
}

/// What to do about a trouble that comes from the sandbox. With a network the proxy itself tells what was refused.
fn hint_text(hint: Hint, network: Network) -> Option<&'static str> {
    match (hint, network) {
        (Hint::Unreachable, Network::None) => Some(
            "its output tells of a host that can't be reached: there is no network here; `network: full` gives one",
        ),
        (Hint::Unreachable, Network::Full) => None,
        (Hint::ReadOnly, Network::None | Network::Full) => Some(
            "its output tells of a read-only file system: with `image: host` the machine's own tools can't be written; \
             install below /workspace or $HOME",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_reports_are_told_from_the_root_of_the_repository() {
        for (folder, file, path) in [
            ("", "tests/a.py", "tests/a.py"),
            ("packages/app/", "./src/a.js", "packages/app/src/a.js"),
            ("packages/app/", "/workspace/packages/app/src/a.js", "packages/app/src/a.js"),
            ("", "/usr/lib/python3/x.py", "/usr/lib/python3/x.py"),
        ] {
            assert_eq!(from_root(folder, file), path);
        }
    }
}
