//! Proposals for repositories of several kinds.

use proptest::prelude::*;

use super::*;

fn facts(files: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    for (name, text) in files {
        facts.names.insert((*name).to_owned());
        if CONTENTS.contains(name) {
            facts.contents.insert((*name).to_owned(), text.as_bytes().to_vec());
        }
    }
    facts
}

#[track_caller]
fn check(proposal: &Proposal) {
    let parsed = crate::config::parse(&proposal.yaml, ".sandgate.yaml")
        .unwrap_or_else(|errors| panic!("{errors}\n{}", proposal.yaml));
    assert_eq!(parsed.unsupported, []);
    let names: Vec<&str> = parsed.config.gates.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, proposal.gates);
}

#[track_caller]
fn expect(files: &[(&str, &str)], yaml: &str) -> Vec<String> {
    let proposal = propose(&facts(files)).unwrap();
    assert_eq!(proposal.yaml, yaml);
    check(&proposal);
    proposal.notes
}

#[test]
fn a_cargo_workspace() {
    let manifest = "[workspace]\nmembers = [\"crates/*\", \"tools/x\"]\n[workspace.lints.clippy]\ntodo = \"deny\"\n";
    expect(
        &[
            ("Cargo.toml", manifest),
            ("Cargo.lock", ""),
            ("rustfmt.toml", ""),
            ("Makefile", "test:\n"),
        ],
        r#"version: 1

# Runs once for the same inputs, and sees nothing else of the repository.
environment:
  setup:
    run: [cargo fetch --locked]
    inputs: [Cargo.toml, Cargo.lock, crates/*/Cargo.toml, tools/x/Cargo.toml]
    placeholders: ["**/src/lib.rs", "**/src/main.rs"]
    network: full

# Each gate runs in its own copy, without network.
gates:
  test:
    run: cargo test --workspace --no-fail-fast --offline --locked
  format:
    run: cargo fmt --all --check
  clippy:
    run: cargo clippy --workspace --all-targets --offline --locked -- -D warnings
"#,
    );
}

#[test]
fn an_npm_package() {
    let package = r#"{ "scripts": { "test": "jest", "build": "tsc", "lint": "" }, "devDependencies": { "jest": "1" },
                       "workspaces": ["packages/*"] }"#;
    expect(
        &[("package.json", package), ("package-lock.json", "{}"), (".npmrc", "")],
        "version: 1

# Runs once for the same inputs, and sees nothing else of the repository.
environment:
  setup:
    run: [npm ci]
    inputs: [package.json, .npmrc, package-lock.json, packages/*/package.json]
    network: full

# Each gate runs in its own copy, without network.
gates:
  build:
    run: npm run build
  test:
    run: npm run test
",
    );
}

#[test]
fn a_python_package() {
    let project = "[project]\nname = 'shop'\n[project.optional-dependencies]\ntest = ['pytest']\n[tool.ruff]\nline-length = 100\n";
    expect(
        &[("pyproject.toml", project), ("README.md", ""), ("tests", ""), ("src", "")],
        "version: 1

# Runs once for the same inputs, and sees nothing else of the repository.
environment:
  setup:
    run:
      - python3 -m venv .venv
      - \".venv/bin/pip install -e '.[test]'\"
      - .venv/bin/pip install ruff
    inputs: [pyproject.toml, README.md]
    placeholders: [\"**/__init__.py\"]
    network: full

# Each gate runs in its own copy, without network.
gates:
  test:
    run: .venv/bin/python -m pytest --junitxml=report/junit.xml
    reports: { junit: [report/junit.xml] }
  lint:
    run: .venv/bin/ruff check
",
    );
}

#[test]
fn smaller_ones() {
    for (files, gates, setup) in [
        (
            vec![("requirements.txt", "flask\n"), ("tests", "")],
            vec!["test: .venv/bin/python -m unittest discover -s tests -t ."],
            vec!["python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt"],
        ),
        (
            vec![("pyproject.toml", "[tool.x]\n"), ("conftest.py", "")],
            vec!["test: .venv/bin/python -m pytest --junitxml=report/junit.xml"],
            vec!["python3 -m venv .venv", ".venv/bin/pip install pytest"],
        ),
        (
            vec![("go.mod", "module x\n\nrequire a v1\n"), ("go.sum", ""), (".golangci.yml", "")],
            vec!["test: go test ./...", "vet: go vet ./...", "lint: golangci-lint run"],
            vec!["go mod download"],
        ),
        (vec![("go.mod", "module x\n")], vec!["test: go test ./...", "vet: go vet ./..."], vec![]),
        (
            vec![(
                "Makefile",
                "CHECK := 1\ncheck:=2\nlint ::= x\n.PHONY: lint\nall test: a\n\tlint: x\n",
            )],
            vec!["test: make test"],
            vec![],
        ),
        (
            vec![("Makefile", "lint::\ncheck :\n")],
            vec!["lint: make lint", "check: make check"],
            vec![],
        ),
        (
            vec![("package.json", "{\"scripts\":{\"test\":\"node --test\"}}")],
            vec!["test: npm run test"],
            vec![],
        ),
        (
            vec![
                ("package.json", "{\"scripts\":{\"test\":\"x\"},\"dependencies\":{\"a\":\"1\"}}"),
                ("pnpm-lock.yaml", ""),
            ],
            vec!["test: pnpm run test"],
            vec!["pnpm install --frozen-lockfile"],
        ),
        (
            vec![("Cargo.toml", "[package]\nname = 'x'\n[[bench]]\nname = 'b'\n")],
            vec!["test: cargo test --no-fail-fast --offline"],
            vec!["cargo fetch"],
        ),
        (
            vec![
                ("Cargo.toml", "[package]\nname = 'x'\n"),
                ("Cargo.lock", ""),
                (
                    "package.json",
                    "{\"scripts\":{\"test\":\"x\",\"lint\":\"x\"},\"dependencies\":{\"a\":\"1\"}}",
                ),
                ("package-lock.json", ""),
            ],
            vec![
                "test-rust: cargo test --no-fail-fast --offline --locked",
                "lint: npm run lint",
                "test-node: npm run test",
            ],
            vec!["cargo fetch --locked", "npm ci"],
        ),
    ] {
        let proposal = propose(&facts(&files)).unwrap();
        check(&proposal);
        let config = crate::config::parse(&proposal.yaml, "f").unwrap().config;
        let lines: Vec<String> =
            config.gates.iter().map(|gate| format!("{}: {}", gate.name, gate.run[0])).collect();
        assert_eq!(lines, gates, "{files:?}");
        let run = config.environment.setup.map(|setup| setup.run).unwrap_or_default();
        assert_eq!(run, setup, "{files:?}");
    }
}

#[test]
fn nothing_to_infer_from() {
    let error = propose(&facts(&[("README.md", ""), ("src", "")])).unwrap_err();
    assert_eq!(error, ProposeError::NothingKnown);
    assert!(error.to_string().contains("Cargo.toml, package.json, pyproject.toml"), "{error}");
    let no_test = r#"{ "scripts": { "test": "echo \"Error: no test specified\" && exit 1" } }"#;
    let error = propose(&facts(&[("package.json", no_test), ("Makefile", "all:\n")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "found no commands for gates: package.json has no script `test`, `lint` or `build`; Makefile has no target \
         `test`, `check` or `lint`; write a `.sandgate.yaml` with at least one gate"
    );
    for (name, text) in [("package.json", "{"), ("Cargo.toml", "[")] {
        let error = propose(&facts(&[(name, text)])).unwrap_err();
        assert!(
            matches!(&error, ProposeError::NoCommands { found } if found[0].contains("can't be read"))
        );
    }
}

#[test]
fn a_file_that_can_not_be_used_does_not_hide_the_makefile() {
    let proposal = propose(&facts(&[("package.json", "{}"), ("Makefile", "test:\n")])).unwrap();
    assert_eq!(proposal.gates, ["test"]);
    assert_eq!(proposal.notes, ["package.json has no script `test`, `lint` or `build`"]);
}

#[test]
fn hostile_paths_are_left_out() {
    let manifest =
        "[workspace]\nmembers = ['../x', '/etc', 'a: b', 'c # d', '{', \"e\\nf\", 'ü']\n";
    let proposal = propose(&facts(&[("Cargo.toml", manifest)])).unwrap();
    check(&proposal);
    let config = crate::config::parse(&proposal.yaml, "f").unwrap().config;
    let inputs = config.environment.setup.unwrap().inputs;
    assert_eq!(inputs, ["Cargo.toml", "a: b/Cargo.toml", "c # d/Cargo.toml", "ü/Cargo.toml"]);
    assert_eq!(proposal.notes.len(), 4);
}

proptest! {
    #[test]
    fn every_proposal_parses(
        names in proptest::collection::btree_set(proptest::sample::select(vec![
            "Cargo.toml", "Cargo.lock", "rustfmt.toml", "clippy.toml", ".cargo", "package.json", "package-lock.json",
            "yarn.lock", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tests", "conftest.py",
            "ruff.toml", "go.mod", "go.sum", ".golangci.yml", "Makefile", "GNUmakefile",
        ]), 0..12),
        texts in proptest::collection::vec(prop_oneof![
            Just("[workspace]\nmembers = ['a/*']\n[[bin]]\nname = 'x'\n[lints.clippy]\na = 'deny'\n".to_owned()),
            Just("{\"scripts\":{\"test\":\"x\",\"lint\":\"y\",\"build\":\"z\"},\"workspaces\":{\"packages\":[\"p/*\"]}}".to_owned()),
            Just("[project]\nname = 'x'\n[project.optional-dependencies]\ndev = []\ntest = []\n[tool.ruff]\n".to_owned()),
            Just("pytest\nrequire x\n".to_owned()),
            Just("test lint check: x\n".to_owned()),
            ".{0,40}",
        ], 14),
    ) {
        let mut facts = Facts::default();
        for (name, text) in CONTENTS.iter().zip(texts) {
            if names.contains(name) {
                facts.contents.insert((*name).to_owned(), text.into_bytes());
            }
        }
        facts.names = names.into_iter().map(str::to_owned).collect();
        if let Ok(proposal) = propose(&facts) {
            check(&proposal);
            prop_assert!(!proposal.gates.is_empty());
        }
    }
}
