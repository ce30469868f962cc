//! What good files say, and what they ask for in vain.

use std::time::Duration;

use super::*;

fn name(text: &str) -> GateName {
    text.parse().unwrap()
}

#[test]
fn every_built_key_is_read() {
    let Parsed { config, unsupported } = good(BUILT_KEYS);
    assert_eq!(unsupported, []);
    assert_eq!(config.version, 1);
    let setup = config.environment.setup.unwrap();
    assert_eq!(setup.run, ["cargo fetch"]);
    assert_eq!(setup.inputs, ["Cargo.toml", "Cargo.lock", "crates/*/Cargo.toml"]);
    assert_eq!(setup.placeholders, ["**/src/lib.rs", "**/src/main.rs"]);
    assert_eq!(setup.network, Some(Network::Full));
    // As written: a version is no number.
    assert_eq!(config.environment.env["TOOL_VERSION"], "1.20");
    assert_eq!(config.environment.env["RUST_BACKTRACE"], "1");
    assert_eq!(config.environment.env["EMPTY"], "");
    assert_eq!(config.defaults.timeout, Some(Duration::from_secs(1200)));
    assert_eq!(config.defaults.retry, Retry { infra: Some(1), gate: Some(1) });
    assert_eq!(config.defaults.resources.cpu_millis, Some(500));
    assert_eq!(config.defaults.resources.memory_bytes, Some(512 << 20));
    assert_eq!((config.fail_fast, config.cancel.on_push), (FailFast::Off, false));
    assert_eq!(config.approve_from, Some(name("build")));
    let names: Vec<&str> = config.gates.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, ["build", "unit tests", "lint"]);
    let unit = &config.gates[1];
    assert_eq!(unit.run, ["cargo test", "set -e\n./check.sh\n"]);
    assert_eq!(unit.dir.as_deref(), Some("crates/app"));
    assert_eq!((&unit.from, &unit.needs), (&Some(name("build")), &vec![name("lint")]));
    assert_eq!(unit.when.base, ["main", "release/*"]);
    assert_eq!(unit.when.paths, ["src/**"]);
    assert_eq!(unit.when.paths_ignore, ["*.md"]);
    assert_eq!(unit.reports.junit, ["target/*.xml"]);
    assert_eq!(unit.debug.keep, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(unit.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(unit.retry, Retry { infra: None, gate: Some(3) });
    assert!(!unit.blocking && config.gates[0].blocking);
}

#[test]
fn the_smallest_file_has_defaults() {
    let config = good("version: 1\ngates: { test: { run: make test } }\n").config;
    assert_eq!(config.fail_fast, FailFast::Blocking);
    assert_eq!(config.cancel, Cancel { on_push: true });
    assert_eq!(config.environment, Environment::default());
    assert_eq!(config.gates[0].run, ["make test"]);
}

#[test]
fn what_is_not_built_is_listed_with_its_place() {
    let unsupported = good(EVERY_KEY).unsupported;
    let listed: Vec<(&str, u32, u32, bool)> =
        unsupported.iter().map(|key| (key.key.as_str(), key.line, key.column, key.fatal)).collect();
    assert_eq!(
        listed,
        [
            ("services", 12, 1, true),
            ("gates.unit.matrix", 22, 5, true),
            ("gates.unit.artifacts", 24, 5, false),
            ("gates.lint.services", 28, 41, true),
            ("gates.lint.secrets", 28, 57, true),
            ("external", 33, 1, true),
            ("preview", 34, 1, false),
        ]
    );
    assert!(unsupported.iter().all(|key| key.file == ".sandgate.yaml" && !key.instead.is_empty()));
}

#[test]
fn values_that_are_not_built_are_listed_too() {
    let text = "\
version: 1
mode: shadow
environments: { ci: {} }
environment:
  image: node:22
  setup: { run: x, network: [registry.npmjs.org], secrets: [TOKEN] }
gates:
  a: { run: x, network: [example.com], environment: ci, reports: { sarif: [a.sarif] } }
";
    let unsupported = good(text).unsupported;
    let listed: Vec<(&str, bool)> =
        unsupported.iter().map(|key| (key.key.as_str(), key.fatal)).collect();
    assert_eq!(
        listed,
        [
            ("mode", false),
            ("environments", true),
            ("environment.image", true),
            ("environment.setup.network", true),
            ("environment.setup.secrets", true),
            ("gates.a.network", true),
            ("gates.a.environment", true),
            ("gates.a.reports.sarif", false),
        ]
    );
}

#[test]
fn empty_values_of_what_is_not_built_ask_for_nothing() {
    let text = "version: 1\nservices: {}\nexternal: []\npreview:\nmode: enforce\n\
                gates: { a: { run: x, secrets: [], network: [], matrix: ~ } }\n";
    assert_eq!(good(text).unsupported, []);
}

#[test]
fn byte_order_marks_line_ends_comments_and_anchors_are_understood() {
    let text = "\u{feff}version: 1\r\n# comment\r\ngates:\r\n  a: &a { run: x }\r\n  b: *a\r\n";
    let config = good(text).config;
    assert_eq!(config.gates[1].name, name("b"));
    assert_eq!(config.gates[1].run, config.gates[0].run);
}

#[test]
fn the_example_of_the_readme_asks_for_nothing_that_is_not_built() {
    let readme = include_str!("../../../../../README.md");
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let Parsed { config, unsupported } = good(example.unwrap());
    assert_eq!(unsupported, []);
    assert_eq!(config.gates.len(), 3);
}
