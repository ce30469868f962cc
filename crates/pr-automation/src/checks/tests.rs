//! Tests of the file one level up.

use super::*;
use crate::comment::tests::{failing_gate, gate, report};
use crate::report::TestCounts;

#[test]
fn results_are_mapped_by_the_table() {
    let mapped: Vec<&str> =
        GateResult::ALL.into_iter().map(|result| conclusion(result).as_str()).collect();
    assert_eq!(mapped, ["success", "failure", "failure", "timed_out", "cancelled", "skipped"]);
    for result in GateResult::ALL {
        let checks = of_run(&report(Some(result), vec![gate("unit", Some(result))]));
        assert_eq!(checks.len(), 2);
        assert!(checks.iter().all(|check| check.conclusion == Some(conclusion(result))));
        assert!(checks.iter().all(|check| check.title.starts_with(result.as_str())));
    }
}

#[test]
fn names_are_stable_and_the_aggregate_has_an_entry_a_gate() {
    let mut unit = failing_gate("unit", 1, "boom");
    unit.tests = Some(TestCounts { total: 12, failed: 1 });
    let gates = vec![gate("lint", Some(GateResult::Success)), unit, gate("slow", None)];
    let checks = of_run(&report(None, gates));
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["sandgate", "sandgate / lint", "sandgate / unit", "sandgate / slow"]);
    let aggregate = &checks[0];
    assert_eq!(aggregate.conclusion, None);
    assert_eq!(aggregate.title, "running: 2 of 3 gates ended");
    assert_eq!(
        aggregate.summary,
        "- ✅ `lint` success, 1.2 s\n- ❌ `unit` failure, 1.2 s, 12 tests, 1 failed: `boom`\n- ⏳ `slow` running\n"
    );
    assert_eq!(checks[2].title, "failure: boom");
    assert!(checks[2].summary.contains("`sandgate debug unit --run run_"));
    assert_eq!(aggregate.annotations, checks[2].annotations);
}

#[test]
fn what_does_not_decide_is_neutral() {
    let mut optional = failing_gate("optional", 1, "boom");
    optional.is_blocking = false;
    let checks = of_run(&report(Some(GateResult::Success), vec![optional.clone()]));
    assert_eq!(checks[0].conclusion, Some(Conclusion::Success));
    assert_eq!(checks[1].conclusion, Some(Conclusion::Neutral));
    assert!(!checks[1].annotations[0].is_failure);

    let mut shadow = report(Some(GateResult::Failure), vec![failing_gate("unit", 1, "boom")]);
    shadow.mode = Mode::Shadow;
    let checks = of_run(&shadow);
    assert_eq!((checks.len(), checks[0].conclusion), (1, Some(Conclusion::Neutral)));
    assert!(checks[0].title.starts_with("shadow, failure"));
    assert!(!checks[0].annotations[0].is_failure);
}

#[test]
fn held_forks_and_unplanned_heads_have_the_aggregate_only() {
    let head: CommitId = "ab".repeat(20).parse().unwrap();
    let check = held(12, &head);
    assert_eq!(
        (check.name.as_str(), check.conclusion),
        ("sandgate", Some(Conclusion::ActionRequired))
    );
    assert!(check.summary.contains(&format!("pr approve 12 --sha {head}")));
    let check = not_planned(&head, "conflict in `a`\n@all");
    assert_eq!(check.conclusion, Some(Conclusion::Failure));
    assert_eq!(check.title, "conflict in `a` @all");
    assert_eq!(check.summary, "No gate could start: ``conflict in `a` @all``");
}

#[test]
fn annotations_have_places_inside_the_repository_and_bounds() {
    let mut unit = failing_gate("unit", 60, "boom");
    for (index, file) in ["/etc/passwd", "../x", "a/../b", "", "a\nb", "a//b"].iter().enumerate() {
        unit.failures[index].file = Some((*file).to_owned());
    }
    unit.failures[6].file = None;
    unit.failures[7].file = Some("./src/a.rs".to_owned());
    (unit.failures[7].line, unit.failures[8].line) = (Some(0), None);
    unit.failures[7].message = "\u{1b}[31mred\u{202e}\nsecond\0".repeat(1_000);
    let check = of_run(&report(Some(GateResult::Failure), vec![unit])).remove(1);
    assert_eq!(check.annotations.len(), MAX_ANNOTATIONS);
    let first = &check.annotations[0];
    assert_eq!((first.path.as_str(), first.line), ("src/a.rs", 1));
    assert!(first.message.starts_with("red\u{fffd}\nsecond\u{fffd}"));
    assert!(first.message.chars().count() <= MAX_MESSAGE_CHARACTERS);
    assert_eq!(check.annotations[1].line, 1);
}

#[test]
fn summaries_and_titles_are_bounded() {
    let long = "x`|\n".repeat(500);
    let gates: Vec<GateReport> =
        (0..200).map(|index| failing_gate(&format!("{long}{index}"), 110, &long)).collect();
    for check in of_run(&report(Some(GateResult::Failure), gates)).into_iter().take(3) {
        assert!(check.summary.len() <= 65_535, "{}", check.summary.len());
        assert!(check.summary.ends_with(" more\n"));
        assert!(check.title.chars().count() <= 200 && check.name.chars().count() <= 120);
    }
}
