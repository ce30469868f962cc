//! Tests of the file one level up.

use proptest::prelude::*;
use sandgate_domain::{RunId, SnapshotId};

use super::*;
use crate::report::TestCounts;

pub(crate) fn gate(name: &str, result: Option<GateResult>) -> GateReport {
    GateReport {
        name: name.to_owned(),
        result,
        is_blocking: true,
        reason: None,
        attempts: 1,
        duration_ms: 1234,
        tests: None,
        failures: Vec::new(),
        debug_snapshot: None,
    }
}

pub(crate) fn failing_gate(name: &str, failures: usize, text: &str) -> GateReport {
    let failure = |index: usize| TestFailure {
        name: format!("{text}{index}"),
        file: Some("src/lib.rs".to_owned()),
        line: Some(7),
        message: format!("\n{text}\nsecond line"),
    };
    GateReport {
        reason: Some(text.to_owned()),
        tests: Some(TestCounts { total: 12, failed: 1 }),
        failures: (0..failures).map(failure).collect(),
        debug_snapshot: Some(snapshot()),
        ..gate(name, Some(GateResult::Failure))
    }
}

pub(crate) fn report(result: Option<GateResult>, gates: Vec<GateReport>) -> RunReport {
    RunReport {
        run: "run_00000000000000000000000000000007".parse::<RunId>().unwrap(),
        head: head(),
        result,
        duration_ms: 65_000,
        mode: Mode::Enforce,
        gates,
        approved_snapshot: None,
        page: Some("https://sandgate.example.org/runs/run_7".to_owned()),
        data_dir: None,
    }
}

fn snapshot() -> SnapshotId {
    "snap_00000000000000000000000000000009".parse().unwrap()
}

fn head() -> CommitId {
    "ab".repeat(20).parse().unwrap()
}

fn show(subject: Subject<'_>) -> String {
    render(&"Acme/Web".parse().unwrap(), 12, subject)
}

#[test]
fn a_failing_run_is_told_in_full() {
    let mut unit = failing_gate("unit", 1, "assertion failed: a | b");
    unit.attempts = 2;
    let mut report =
        report(Some(GateResult::Failure), vec![gate("lint", Some(GateResult::Success)), unit]);
    report.data_dir = Some("/var/my data".to_owned());
    let expected = "\
<!-- sandgate:acme/web#12 -->
### ❌ Sandgate: failure

1 of 2 gates did not pass for `abababa` in 1 min 05 s.

| gate | result | time | tests |
|---|---|---|---|
| `lint` | ✅ success | 1.2 s |  |
| `unit` | ❌ failure | 1.2 s | 12, 1 failed |

**❌** `unit` **failure** after 2 attempts: `assertion failed: a | b`

- `assertion failed: a | b0` at `src/lib.rs:7`: `assertion failed: a | b`

Enter exactly this state (snapshot `snap_00000000000000000000000000000009`): \
`sandgate debug unit --run run_00000000000000000000000000000007 --data-dir '/var/my data'`

[Logs and everything else of this run](https://sandgate.example.org/runs/run_7)
";
    assert_eq!(show(Subject::Run(&report)), expected);
    assert_eq!(show(Subject::Run(&report)), show(Subject::Run(&report.clone())));
}

#[test]
fn every_result_has_an_icon_and_a_word() {
    let mut icons = vec![verdict(None).0];
    for result in GateResult::ALL {
        let (icon, word) = verdict(Some(result));
        assert_eq!(word, result.as_str());
        icons.push(icon);
        let text = show(Subject::Run(&report(Some(result), vec![gate("a", Some(result))])));
        assert!(text.contains(&format!("### {icon} Sandgate: {word}\n")), "{text}");
    }
    icons.sort_unstable();
    icons.dedup();
    assert_eq!(icons.len(), 7);
}

#[test]
fn what_did_not_run_says_what_to_do() {
    let head = head();
    let text = show(Subject::Held { head: &head });
    assert!(text.contains(&format!("`sandgate pr approve 12 --sha {head}`")), "{text}");
    let paths = vec!["a`b".to_owned(); 25];
    let text = show(Subject::Conflict { head: &head, paths: &paths });
    assert!(text.contains("- ``a`b``\n") && text.contains("+5 more"), "{text}");
    let text = show(Subject::NotPlanned { head: &head, reason: ".sandgate.yaml:3:1: @all" });
    assert!(text.contains("`.sandgate.yaml:3:1: @all`"), "{text}");
    let mut shadow = report(Some(GateResult::Failure), Vec::new());
    shadow.mode = Mode::Shadow;
    assert!(show(Subject::Run(&shadow)).contains("failure (shadow: blocks nothing)"));
}

#[test]
fn failing_tests_are_counted_beyond_the_tenth() {
    let text =
        show(Subject::Run(&report(Some(GateResult::Failure), vec![failing_gate("unit", 13, "t")])));
    assert!(text.contains("`t9`") && !text.contains("`t10`") && text.contains("+3 more"), "{text}");
}

#[test]
fn commands_can_be_pasted_whatever_the_gate_is_called() {
    let report = report(None, Vec::new());
    for (name, expected) in [
        ("unit (node=20)", "sandgate debug 'unit (node=20)' --run run_"),
        ("$(id)", "sandgate debug '$(id)' --run run_"),
        ("a'; id", r"sandgate debug 'a'\''; id' --run run_"),
    ] {
        assert!(debug_command(&report, name).starts_with(expected), "{name}");
    }
    assert!(debug_command(&report, "--help").ends_with(" -- --help"));
    assert!(!debug_command(&report, "a\nid").contains('\n'));
}

#[test]
fn huge_reports_are_held_within_the_limit_and_keep_their_ends() {
    let long = "x`".repeat(1_000);
    let gates: Vec<GateReport> =
        (0..400).map(|index| failing_gate(&format!("{long}{index}"), 12, &long)).collect();
    let text = show(Subject::Run(&report(Some(GateResult::Failure), gates)));
    assert!(text.len() <= MAX_BYTES && text.len() > MAX_BYTES / 2, "{}", text.len());
    assert!(text.contains("400 of 400 gates did not pass"));
    assert!(text.contains(" more\n") && text.contains("more gates are on the page of the run"));
    assert!(text.ends_with("(https://sandgate.example.org/runs/run_7)\n"));
}

/// Our text without its code spans, by the rule of CommonMark: a run of backticks closes at the next of its length.
fn outside_of_code(text: &str) -> String {
    let (mut outside, mut rest) = (String::new(), text);
    while let Some(start) = rest.find('`') {
        let fence = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        outside.push_str(&rest[..start]);
        rest = &rest[start + fence..];
        let mut from = 0;
        let end = loop {
            let at = from + rest[from..].find('`').expect("a span that never closes");
            let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
            if run == fence {
                break at;
            }
            from = at + run;
        };
        rest = &rest[end + fence..];
    }
    outside + rest
}

proptest! {
    /// Whatever a pull request calls its gates, tests and files: outside of code spans there are only our own words.
    #[test]
    fn hostile_text_never_leaves_its_span(
        text in "([`|\\\\<>@#!\\[\\]()\n\r*_~-]|QQ|<!--|-->|\u{202e}|\u{1b}\\[31m|https://QQ.example|@QQ){0,30}"
    ) {
        let hostile = format!("QQ{text}");
        let mut gate = failing_gate(&hostile, 2, &hostile);
        gate.failures[0].file = Some(hostile.clone());
        let mut report = report(Some(GateResult::Failure), vec![gate]);
        report.data_dir = Some(hostile.clone());
        report.page = Some(hostile.clone());
        let paths = vec![hostile.clone()];
        let head = head();
        for subject in [
            Subject::Run(&report),
            Subject::Conflict { head: &head, paths: &paths },
            Subject::NotPlanned { head: &head, reason: &hostile },
        ] {
            let shown = show(subject);
            prop_assert!(shown.contains("QQ"));
            let outside = outside_of_code(&shown);
            prop_assert!(!outside.contains("QQ"), "{shown}");
            prop_assert!(!outside.contains(['@', '[', '\u{202e}', '\u{1b}']), "{outside}");
            prop_assert_eq!(outside.matches('<').count(), 1, "{}", outside);
            prop_assert!(!shown.contains(['\u{202e}', '\u{1b}', '\r']), "{shown}");
            for row in shown.lines().filter(|line| line.starts_with("| ")) {
                prop_assert_eq!(row.matches('|').count(), 5, "{}", row);
            }
        }
    }
}
