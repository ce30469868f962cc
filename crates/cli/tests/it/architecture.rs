//! The invariants of the layout: who may depend on whom, and which words belong to one crate only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate and the crates of ours that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("engine", &["domain"]),
    ("sandbox", &["domain"]),
    ("egress", &["domain"]),
    ("chassis", &["domain"]),
    ("store", &["domain"]),
    ("objects", &["domain"]),
    ("node", &["domain", "egress", "objects", "sandbox", "wire"]),
    ("integration-agent", &["bus", "domain", "engine", "store", "wire"]),
    ("api", &["domain", "wire"]),
    ("bus", &["domain", "store"]),
    ("forge", &["domain", "objects"]),
    ("pr-automation", &["bus", "domain", "forge", "store", "wire"]),
    ("wire", &["domain"]),
    ("snapshot-service", &["domain", "store", "wire"]),
    ("provider-gateway", &["domain", "store", "wire"]),
    ("gate-runner", &["domain", "engine", "wire"]),
    (
        "cli",
        &[
            "api",
            "bus",
            "chassis",
            "domain",
            "engine",
            "forge",
            "gate-runner",
            "integration-agent",
            "node",
            "pr-automation",
            "provider-gateway",
            "sandbox",
            "snapshot-service",
            "store",
            "wire",
        ],
    ),
    ("testkit", &["domain"]),
    ("bench", &["chassis", "domain", "node", "sandbox", "store"]),
];

/// A word in the sources, the crates that may contain it, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("SELECT ", &["store", "testkit"], "only `store` contains SQL"),
    ("INSERT INTO", &["store", "testkit"], "only `store` contains SQL"),
    ("std::env::var", &["chassis", "testkit"], "only `chassis` reads the environment"),
    ("unsafe {", &["sandbox"], "`unsafe` only in `sandbox`"),
];

/// Crates that must never be linked, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring is the one TLS provider"),
    ("openssl-sys", "ring is the one TLS provider"),
    ("native-tls", "ring is the one TLS provider"),
    ("serde_yaml", "archived; serde-saphyr is the YAML parser"),
    ("serde_yml", "deprecated; serde-saphyr is the YAML parser"),
    ("tokio-tar", "unmaintained and unsafe (CVE-2025-62518)"),
];

/// The licences that may be linked into an Apache-2.0 program.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "MIT-0",
    "Unlicense",
    "BSL-1.0",
];

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().and_then(Path::parent).expect("crates/cli is two levels down").to_path_buf()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn own_packages(metadata: &Value) -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let members: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let own = packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(id)));
    own.map(|package| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let named = dependencies.iter().map(|dependency| {
            let name = dependency["name"].as_str().unwrap_or_default().to_owned();
            (name, dependency["kind"].as_str().map(str::to_owned))
        });
        let name = package["name"].as_str().expect("a name");
        (short(name).to_owned(), named.collect())
    })
    .collect()
}

fn texts(array: &Value) -> impl Iterator<Item = &str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn short(package: &str) -> &str {
    package.strip_prefix("sandgate-").unwrap_or(package)
}

#[test]
fn arrows_point_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for (package, dependencies) in own_packages(&metadata()) {
        let may_use = allowed
            .get(package.as_str())
            .unwrap_or_else(|| panic!("crate `{package}` is not in the table of this test"));
        for (dependency, kind) in dependencies {
            let Some(used) = dependency.strip_prefix("sandgate-") else { continue };
            let for_tests = kind.as_deref() == Some("dev") && used == "testkit";
            let for_own_tests =
                kind.as_deref() == Some("dev") && (used == "sandbox" || used == package);
            assert!(
                may_use.contains(&used) || for_tests || for_own_tests,
                "`{package}` must not use `{used}`"
            );
        }
    }
}

#[test]
fn decisions_know_no_runtime() {
    for (package, dependencies) in own_packages(&metadata()) {
        if !matches!(package.as_str(), "domain" | "engine") {
            continue;
        }
        for (dependency, _) in dependencies {
            let io = ["tokio", "async-std", "sqlx", "hyper", "reqwest", "tonic"];
            assert!(!io.contains(&dependency.as_str()), "`{package}` must not use `{dependency}`");
        }
    }
}

#[test]
fn words_stay_in_their_crates() {
    for (path, text) in sources() {
        let relative = path.strip_prefix(root()).expect("below the root");
        let package = relative.components().nth(1).expect("crates/<name>");
        let package = package.as_os_str().to_string_lossy().into_owned();
        if relative.ends_with("tests/it/architecture.rs") {
            continue;
        }
        for (word, crates, why) in ONLY_IN {
            let allowed = crates.contains(&package.as_str());
            assert!(allowed || !text.contains(word), "{}: `{word}`: {why}", relative.display());
        }
        // Tests may compare with what a shell does.
        let is_test = relative.components().any(|part| part.as_os_str() == "tests");
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for shell in ["Command::new(\"sh\")", "Command::new(\"bash\")"] {
            let starts_one = !is_test && product.contains(shell);
            assert!(!starts_one, "{}: no shell on the host", relative.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", path.display());
    }
}

pub fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

#[test]
fn linked_crates_follow_the_policy() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            panic!("`{name}` is linked: {why}");
        }
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence), "`{name}` has the licence `{licence}`");
        let source = package["source"].as_str();
        let from_registry = source.is_none_or(|source| source.starts_with("registry+"));
        assert!(from_registry, "`{name}` comes from {source:?}");
    }
}

/// Whether one of the alternatives of a licence expression consists of allowed licences only.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" OR ").any(|alternative| {
        alternative.split(" AND ").all(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn licence_expressions_are_read_right() {
    for (expression, allowed) in [
        ("MIT OR Apache-2.0", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}
