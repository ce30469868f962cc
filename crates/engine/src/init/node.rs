//! Packages of npm, pnpm and yarn.

use serde_json::Value;

use super::{Facts, Part};
use crate::config::values;

/// Lock file, command, name.
const MANAGERS: &[(&str, &str, &str)] = &[
    ("pnpm-lock.yaml", "pnpm install --frozen-lockfile", "pnpm"),
    ("yarn.lock", "yarn install --frozen-lockfile", "yarn"),
    ("package-lock.json", "npm ci", "npm"),
    ("npm-shrinkwrap.json", "npm ci", "npm"),
];

/// What `npm init` writes.
const NO_TEST: &str = "no test specified";

pub(super) fn part(facts: &Facts) -> Option<Part> {
    if !facts.has("package.json") {
        return None;
    }
    let mut part = Part { language: "node", ..Part::default() };
    let Ok(package) = serde_json::from_str::<Value>(facts.text("package.json")) else {
        part.notes.push("package.json can't be read as JSON".to_owned());
        return Some(part);
    };
    let locked = MANAGERS.iter().find(|(lock, _, _)| facts.has(lock));
    let (install, manager) =
        locked.map_or(("npm install", "npm"), |(_, install, name)| (*install, *name));
    let has_dependencies = ["dependencies", "devDependencies", "optionalDependencies"]
        .iter()
        .any(|kind| package[*kind].as_object().is_some_and(|list| !list.is_empty()));
    let workspaces = workspaces(&package);
    if has_dependencies || !workspaces.is_empty() {
        part.setup.push(install.to_owned());
        part.inputs =
            facts.present(&["package.json", ".npmrc", ".yarnrc.yml", "pnpm-workspace.yaml"]);
        part.inputs.extend(locked.map(|(lock, _, _)| (*lock).to_owned()));
        part.inputs.extend(workspaces);
        if locked.is_none() {
            part.notes.push(
                "there is no lock file, so the setup installs whatever is newest; commit package-lock.json".to_owned(),
            );
        }
    }
    let script = |name: &str| {
        package["scripts"][name]
            .as_str()
            .filter(|text| !text.trim().is_empty() && !text.contains(NO_TEST))
    };
    for name in ["build", "lint", "test"] {
        if script(name).is_some() {
            part.gate(name, format!("{manager} run {name}"));
        }
    }
    if part.gates.is_empty() {
        part.notes.push("package.json has no script `test`, `lint` or `build`".to_owned());
    }
    Some(part)
}

/// The manifests of the packages of a workspace.
fn workspaces(package: &Value) -> Vec<String> {
    let list = package["workspaces"].as_array().or(package["workspaces"]["packages"].as_array());
    let manifest = |folder: &str| {
        values::path_glob(&format!("{}/package.json", folder.trim_end_matches('/'))).ok()
    };
    list.into_iter().flatten().take(40).filter_map(Value::as_str).filter_map(manifest).collect()
}
