//! Cargo packages and workspaces.

use toml::{Table, Value};

use super::{Facts, Part};
use crate::config::values;

pub(super) fn part(facts: &Facts) -> Option<Part> {
    if !facts.has("Cargo.toml") {
        return None;
    }
    let mut part = Part { language: "rust", ..Part::default() };
    let Ok(manifest) = facts.text("Cargo.toml").parse::<Table>() else {
        part.notes.push("Cargo.toml can't be read as TOML".to_owned());
        return Some(part);
    };
    let is_workspace = manifest.contains_key("workspace");
    let locked = if facts.has("Cargo.lock") { " --locked" } else { "" };
    part.setup.push(format!("cargo fetch{locked}"));
    part.inputs = inputs(facts, &manifest, &mut part.notes);
    part.placeholders = vec!["**/src/lib.rs".to_owned(), "**/src/main.rs".to_owned()];
    for (key, folder) in
        [("bin", "src/bin"), ("bench", "benches"), ("test", "tests"), ("example", "examples")]
    {
        if manifest.contains_key(key) {
            part.placeholders.push(format!("{folder}/**/*.rs"));
        }
    }
    let workspace = if is_workspace { " --workspace" } else { "" };
    part.gate("test", format!("cargo test{workspace} --no-fail-fast --offline{locked}"));
    if facts.has("rustfmt.toml") || facts.has(".rustfmt.toml") {
        part.gate("format", "cargo fmt --all --check");
    }
    if has_clippy(facts, &manifest) {
        let command =
            format!("cargo clippy{workspace} --all-targets --offline{locked} -- -D warnings");
        part.gate("clippy", command);
    }
    Some(part)
}

fn inputs(facts: &Facts, manifest: &Table, notes: &mut Vec<String>) -> Vec<String> {
    let mut inputs =
        facts.present(&["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain"]);
    if facts.has(".cargo") {
        inputs.push(".cargo/**".to_owned());
    }
    let members = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut found = false;
    for member in members.filter(|member| *member != ".").take(40) {
        found = true;
        match values::path_glob(&format!("{}/Cargo.toml", member.trim_end_matches('/'))) {
            Ok(glob) => inputs.push(glob),
            Err(why) => {
                notes.push(format!("a member of the workspace was left out: its path {why}"))
            }
        }
    }
    if !found && manifest.contains_key("workspace") {
        // Members can be inferred from path dependencies.
        inputs.push("**/Cargo.toml".to_owned());
    }
    inputs
}

fn has_clippy(facts: &Facts, manifest: &Table) -> bool {
    let lints = |table: Option<&Value>| {
        table.and_then(|table| table.get("lints")).and_then(|lints| lints.get("clippy")).is_some()
    };
    facts.has("clippy.toml")
        || facts.has(".clippy.toml")
        || lints(manifest.get("workspace"))
        || manifest.get("lints").and_then(|lints| lints.get("clippy")).is_some()
}
