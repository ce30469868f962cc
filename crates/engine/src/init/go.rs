//! Go modules.

use super::{Facts, Part};

pub(super) fn part(facts: &Facts) -> Option<Part> {
    if !facts.has("go.mod") {
        return None;
    }
    let mut part = Part { language: "go", ..Part::default() };
    let requires = |line: &str| line.trim_start().starts_with("require");
    if facts.text("go.mod").lines().any(requires) {
        part.setup.push("go mod download".to_owned());
        part.inputs = facts.present(&["go.mod", "go.sum"]);
    }
    part.gate("test", "go test ./...");
    part.gate("vet", "go vet ./...");
    if [".golangci.yml", ".golangci.yaml", ".golangci.toml"].iter().any(|name| facts.has(name)) {
        part.gate("lint", "golangci-lint run");
    }
    Some(part)
}
