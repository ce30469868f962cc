//! `sandgate init` and `sandgate run` in repositories as people have them: the tools of this machine, the registries of the
//! network. Where one of these is missing the test says so and is listed as skipped.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Ended, World, gate};

/// Whether what a test needs is here; if not, the reason is printed and recorded.
fn needs(test: &str, programs: &[&str], registry: &str) -> bool {
    let checks = programs.iter().map(|program| vec![*program, "--version"]);
    let reach = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
        registry,
    ];
    let all = [vec!["curl", "--version"]].into_iter().chain(checks).chain([reach.to_vec()]);
    let missing = all.into_iter().find_map(|command| trouble(&command));
    let Some(missing) = missing else { return true };
    sandgate_testkit::skip(test, &missing);
    false
}

fn trouble(command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "`{}`: {}",
            command.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("`{}`: {error}", command[0])),
    }
}

/// The proposal is written, the setup runs with the network once, and the gates start without it from then on.
fn first_and_second_run(world: &World, gates: &[&str]) -> Value {
    let proposed = world.sandgate(&["init"]);
    assert_eq!(proposed.code, 0, "{}", proposed.stderr);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(run["setup"]["result"], "success", "{}", logs(world, "setup"));
    assert_eq!(run["setup"]["reason"], Value::Null);
    let names: Vec<&str> = run["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| gate["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, gates);

    let started = Instant::now();
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(run["setup"]["reason"], "its layer was there already");
    assert!(started.elapsed() < Duration::from_secs(60));
    run
}

fn logs(world: &World, step: &str) -> String {
    world.sandgate(&["logs", step]).stdout
}

/// The one failing test of a gate is named with its place, in the document and for people.
fn names_failure(world: &World, run: &Value, name: &str, file: &str, line: u64, message: &str) {
    let gate = gate(run, "test");
    assert_eq!(gate["result"], "failure", "{}", logs(world, "test"));
    assert_eq!(gate["reports"]["tests"], 2, "{gate}");
    assert_eq!(gate["reports"]["failed"], 1, "{gate}");
    let failure = &gate["reports"]["failures"][0];
    assert_eq!(failure["name"], name, "{gate}");
    assert_eq!(failure["file"], file, "{gate}");
    assert_eq!(failure["line"], line, "{gate}");
    assert!(failure["message"].as_str().unwrap().contains(message), "{gate}");
    let shown = world.sandgate(&["run", "--progress", "none"]).stdout;
    assert!(shown.contains(&format!("✗ {name}  at {file}:{line}  ")), "{shown}");
    assert!(shown.contains("1 of 2 tests failed"), "{shown}");
}

/// What was left behind can be used: the command fails, or passes, as it did in the gate.
fn debug(world: &World, script: &str) -> Ended {
    world.debug("test", &["sh", "-c", script])
}

/// Makes the lock file that a repository would contain, with the tool that makes it.
fn lock(world: &World, command: &[&str]) {
    let mut tool = Command::new(command[0]);
    let output = tool.args(&command[1..]).current_dir(world.repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.commit("lock file");
}

#[test]
fn cargo_workspace() {
    if !needs("cargo_workspace", &["cargo"], "https://index.crates.io/config.json") {
        return;
    }
    let member = |name: &str, dependency: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n{dependency}\n"
        )
    };
    let world = World::with_files(&[
        ("Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n"),
        ("crates/core/Cargo.toml", &member("core-lib", "itoa = \"1\"")),
        (
            "crates/core/src/lib.rs",
            "pub fn text(number: u32) -> String {\n    itoa::Buffer::new().format(number).to_owned()\n}\n\n\
             #[test]\nfn writes_numbers() {\n    assert_eq!(text(12), \"12\");\n}\n",
        ),
        ("crates/app/Cargo.toml", &member("app", "core-lib = { path = \"../core\" }")),
        (
            "crates/app/src/main.rs",
            "fn main() {\n    println!(\"{}\", core_lib::text(7));\n}\n\n\
             #[test]\nfn prints_seven() {\n    assert_eq!(core_lib::text(7), \"8\");\n}\n",
        ),
        (".gitignore", "target\n"),
    ]);
    lock(&world, &["cargo", "generate-lockfile"]);
    let run = first_and_second_run(&world, &["test"]);
    names_failure(&world, &run, "prints_seven", "crates/app/src/main.rs", 7, "left == right");
    let inside = debug(&world, "cargo test --offline --package core-lib --lib");
    assert_eq!(inside.code, 0, "{}", inside.stderr);
    assert!(inside.stdout.contains("1 passed"), "{}", inside.stdout);
    // The offline gate has no way to the registry.
    assert_eq!(debug(&world, "cargo search --limit 1 itoa").code, 3);

    world.write(
        "crates/app/src/main.rs",
        "fn main() {\n    println!(\"{}\", core_lib::text(7));\n}\n\n\
         #[test]\nfn prints_seven() {\n    assert_eq!(core_lib::text(7), \"7\");\n}\n",
    );
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", logs(&world, "test"));
    assert_eq!(gate(&run, "test")["reports"]["failed"], 0);
}

#[test]
fn npm_package() {
    if !needs("npm_package", &["node", "npm"], "https://registry.npmjs.org/is-number") {
        return;
    }
    let world = World::with_files(&[
        (
            "package.json",
            r#"{
  "name": "thing",
  "version": "1.0.0",
  "private": true,
  "scripts": { "test": "node --test", "lint": "node --check index.js" },
  "dependencies": { "is-number": "^7.0.0" }
}
"#,
        ),
        (
            "index.js",
            "const isNumber = require('is-number');\nmodule.exports = (x) => (isNumber(x) ? 'number' : 'other');\n",
        ),
        (
            "test/index.test.js",
            "const test = require('node:test');\nconst assert = require('node:assert');\nconst kind = require('..');\n\
             test('numbers are numbers', () => assert.equal(kind(1), 'number'));\n\
             test('letters are letters', () => {\n  assert.equal(kind('a'), 'letter');\n});\n",
        ),
        (".gitignore", "node_modules\n"),
    ]);
    lock(&world, &["npm", "install", "--package-lock-only"]);
    let run = first_and_second_run(&world, &["lint", "test"]);
    assert_eq!(gate(&run, "lint")["result"], "success", "{}", logs(&world, "lint"));
    names_failure(
        &world,
        &run,
        "letters are letters",
        "test/index.test.js",
        6,
        "'other' == 'letter'",
    );
    let inside = debug(&world, "node -e \"console.log(require('.')(5))\"");
    assert_eq!(inside.stdout, "number\n", "{}", inside.stderr);
    // The sandbox has its own cache, and the packages of the setup can be added to.
    let inside = debug(&world, "touch node_modules/.probe && npm config get cache");
    assert_eq!(inside.stdout, "/home/gate/.npm\n", "{}", inside.stderr);
}

#[test]
fn python_package() {
    if !needs("python_package", &["python3"], "https://pypi.org/simple/six/") {
        return;
    }
    let world = World::with_files(&[
        (
            "pyproject.toml",
            "[build-system]\nrequires = [\"setuptools>=61\"]\nbuild-backend = \"setuptools.build_meta\"\n\n\
             [project]\nname = \"thing\"\nversion = \"0.1.0\"\ndependencies = [\"six\"]\n\n\
             [project.optional-dependencies]\ndev = [\"pytest\"]\n",
        ),
        ("src/thing/__init__.py", "import six\n\n\ndef text(x):\n    return six.text_type(x)\n"),
        (
            "tests/test_thing.py",
            "from thing import text\n\n\ndef test_good():\n    assert text(1) == \"1\"\n\n\n\
             def test_bad():\n    assert text(1) == \"2\"\n",
        ),
        (".gitignore", ".venv\nreport\n__pycache__\n*.egg-info\n"),
    ]);
    let run = first_and_second_run(&world, &["test"]);
    names_failure(&world, &run, "test_bad", "tests/test_thing.py", 9, "assert '1' == '2'");
    let inside = debug(&world, ".venv/bin/python -m pytest --quiet -k good");
    assert_eq!(inside.code, 0, "{}", inside.stdout);
    assert!(inside.stdout.contains("1 passed"), "{}", inside.stdout);
}

#[test]
fn a_gate_that_needs_the_network_is_told_so() {
    let config = "version: 1
fail_fast: off
gates:
  offline: { run: 'echo curl: Could not resolve host: example.com >&2; exit 6' }
  metadata: { run: 'exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}; printf \"GET http://169.254.169.254/ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n\" >&3; cat <&3; exit 1', network: full }
  tools: { run: echo x > /usr/probe }
";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (_, run) = world.run(&[]);
    let reason = |name| gate(&run, name)["reason"].as_str().unwrap().to_owned();
    assert!(reason("offline").contains("`network: full` gives one"), "{}", reason("offline"));
    let metadata = reason("metadata");
    assert!(
        metadata.contains("the proxy refused 169.254.169.254"),
        "{metadata} {}",
        logs(&world, "metadata")
    );
    assert!(reason("tools").contains("`image: host`"), "{}", reason("tools"));
}
