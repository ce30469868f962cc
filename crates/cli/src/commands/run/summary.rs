//! How a run ended, for people: a table of gates, failing tests with file and line, and the next commands.

use sandgate_domain::{GateResult, Run};
use serde_json::Value;

use crate::context::Context;
use crate::progress::clean;
use crate::text;
use crate::view::{GateView, RunView};

/// How many failing tests are shown of one gate.
const SHOWN_FAILURES: usize = 10;

/// The summary of a run that has ended.
pub fn text(context: &Context, view: &RunView, run: &Run) -> String {
    let mut lines = vec![String::new()];
    // A setup is worth a line only if it kept the gates from running.
    let setup = view.setup.iter().filter(|setup| setup.result != Some(GateResult::Success));
    let shown: Vec<&GateView> = setup.chain(&view.gates).collect();
    let width = shown.iter().map(|gate| gate.name.chars().count()).max().unwrap_or(0);
    for gate in shown {
        lines.push(gate_line(gate, width));
        lines.extend(failing_tests(gate));
    }
    lines.push(String::new());
    let result = view.result.map_or("none", GateResult::as_str);
    lines.push(format!("verdict: {result}"));
    if view.is_plain() {
        lines.push(format!("isolation: {}", text::PROCESS_LEVEL));
    }
    let data_dir = match &context.global.data_dir {
        Some(folder) => format!(" --data-dir {}", text::quoted(&folder.display().to_string())),
        None => String::new(),
    };
    for gate in view.debug_snapshots.keys() {
        let gate = text::quoted(gate);
        lines.push(format!("debug:   sandgate debug {gate} --run {}{data_dir}", run.id));
    }
    if let Some(snapshot) = &view.approved_snapshot {
        lines.push(format!("approved snapshot: {snapshot}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn gate_line(gate: &GateView, width: usize) -> String {
    let result = gate.result.map_or("none", GateResult::as_str);
    let mark = gate.result.map_or("·", text::result_mark);
    let reason = gate.reason.as_ref().map(|text| format!("  {}", clean(text.as_bytes())));
    // The reason of a failure counts already.
    let passed = gate.reports.as_ref().filter(|_| gate.result == Some(GateResult::Success));
    let tests = passed.and_then(|reports| reports.get("tests")).and_then(Value::as_u64);
    let counts = tests.map(|tests| format!("  {tests} tests"));
    let line = format!(
        "{mark} {:<width$}  {result:<12}{}{}",
        gate.name,
        counts.unwrap_or_default(),
        reason.unwrap_or_default()
    );
    line.trim_end().to_owned()
}

fn failing_tests(gate: &GateView) -> Vec<String> {
    let Some(reports) = &gate.reports else { return Vec::new() };
    let failures = reports.get("failures").and_then(Value::as_array);
    let failures = failures.map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = failures.iter().take(SHOWN_FAILURES).map(failing_test).collect();
    if failures.len() > SHOWN_FAILURES {
        lines.push(format!("    and {} more", failures.len() - SHOWN_FAILURES));
    }
    let warnings = reports.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        lines.push(format!("    warning: {}", clean(warning.as_bytes())));
    }
    lines
}

fn failing_test(failure: &Value) -> String {
    let field = |name: &str| failure.get(name).and_then(Value::as_str).map(str::as_bytes);
    let name = clean(field("name").unwrap_or_default());
    let place = field("file").map(|file| {
        let line = failure.get("line").and_then(Value::as_u64);
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("  at {}{line}", clean(file))
    });
    let message = field("message").unwrap_or_default();
    let first = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    format!("    ✗ {name}{}  {}", place.unwrap_or_default(), clean(first)).trim_end().to_owned()
}
