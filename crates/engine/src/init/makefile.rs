//! Makefiles with the usual targets.

use super::{Facts, Part};

/// In the order in which `make` looks for them.
const NAMES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];

pub(super) fn part(facts: &Facts) -> Option<Part> {
    let file = NAMES.iter().find(|name| facts.has(name))?;
    let mut part = Part { language: "make", ..Part::default() };
    let text = facts.text(file);
    for target in ["lint", "check", "test"] {
        if text.lines().any(|line| defines(line, target)) {
            part.gate(target, format!("make {target}"));
        }
    }
    if part.gates.is_empty() {
        part.notes.push(format!("{file} has no target `test`, `check` or `lint`"));
    }
    Some(part)
}

/// Whether a line is a rule for `target`, alone or among others; not an assignment.
fn defines(line: &str, target: &str) -> bool {
    if line.starts_with(['\t', ' ', '#', '.']) {
        return false;
    }
    let Some((targets, rest)) = line.split_once(':') else { return false };
    let is_assignment = ["=", ":=", "::="].iter().any(|sign| rest.starts_with(sign));
    !is_assignment && targets.split_whitespace().any(|name| name == target)
}
