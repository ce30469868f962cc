//! What the report files of a gate say, and what else a person should know about how it ended.

use sandgate_engine::junit::{self, Limits, Summary};
use sandgate_engine::plan::PlannedGate;
use sandgate_engine::run::Outcome;
use sandgate_node::{Live, ReadLimits};
use serde_json::json;

use crate::runner::Runner;

/// How much of report files is read.
const LIMITS: ReadLimits = ReadLimits { files: 200, bytes: 16 << 20 };
/// Where the checkout is inside a sandbox.
const WORKSPACE: &str = "/workspace/";

/// What was found; none if no reports were asked for.
pub(crate) struct Findings(Option<Summary>);

impl Runner {
    /// Reads the JUnit files that a gate wrote. What can't be read is a warning, never a result.
    pub(crate) async fn findings(&self, live: &Live, gate: &PlannedGate) -> Findings {
        if gate.junit.is_empty() {
            return Findings(None);
        }
        let folder = gate.dir.as_ref().map(|dir| format!("{dir}/")).unwrap_or_default();
        let patterns = gate.junit.iter().map(|glob| format!("{folder}{glob}")).collect();
        let found = match live.read_files(patterns, LIMITS).await {
            Ok(found) => found,
            Err(error) => {
                let warnings = vec![format!("reports could not be read: {error}")];
                return Findings(Some(Summary { warnings, ..Summary::default() }));
            }
        };
        let parse = |(path, bytes): (String, Vec<u8>)| {
            let parsed = junit::parse(&bytes, Limits::default());
            (path, parsed)
        };
        let files = found.files.into_iter().map(parse).collect();
        let mut summary = junit::summarise(files, Limits::default());
        summary.warnings.extend(found.left_out);
        for failure in &mut summary.report.failures {
            failure.file = failure.file.take().map(|file| from_root(&folder, &file));
        }
        Findings(Some(summary))
    }
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
    /// Counts, failing tests and warnings as JSON.
    pub(crate) fn json(&self) -> Option<String> {
        let summary = self.0.as_ref()?;
        let value = json!({
            "tests": summary.report.tests,
            "failed": summary.report.failed + summary.report.errors,
            "skipped": summary.report.skipped,
            "failures": summary.report.failures,
            "warnings": summary.warnings,
        });
        Some(value.to_string())
    }

    /// What a person should know beside the exit status of a gate that did not pass.
    pub(crate) fn note(&self, live: &Live, outcome: &Outcome) -> Option<String> {
        if *outcome == Outcome::Exited(0) {
            return None;
        }
        let report = self.0.as_ref().map(|summary| &summary.report);
        let counted = report.filter(|report| report.tests > 0).map(|report| {
            let failed = report.failed + report.errors;
            format!("{failed} of {} tests failed", report.tests)
        });
        let incidents = live.incidents().into_iter().take(3).map(|incident| incident.text);
        let notes: Vec<String> = counted.into_iter().chain(incidents).collect();
        if notes.is_empty() { None } else { Some(notes.join("; ")) }
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
