//! Python projects, with a virtual environment in the working copy.

use toml::{Table, Value};

use super::{Facts, Part, ProposedGate};

const REQUIREMENTS: &[&str] = &[
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-test.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
    "test-requirements.txt",
];

pub(super) fn part(facts: &Facts) -> Option<Part> {
    let requirements = facts.present(REQUIREMENTS);
    let project = facts.text("pyproject.toml").parse::<Table>().unwrap_or_default();
    let is_package = project.contains_key("project")
        || project.contains_key("build-system")
        || facts.has("setup.py")
        || facts.has("setup.cfg") && facts.text("setup.cfg").contains("[metadata]");
    let is_python = is_package || !requirements.is_empty() || facts.has("pyproject.toml");
    if !is_python {
        return None;
    }
    let mut part = Part { language: "python", ..Part::default() };
    if facts.has("pyproject.toml") && facts.text("pyproject.toml").parse::<Table>().is_err() {
        part.notes.push("pyproject.toml can't be read as TOML".to_owned());
    }
    let mentions = |tool: &str| {
        let files = REQUIREMENTS.iter().chain(&["pyproject.toml", "setup.cfg"]);
        files.into_iter().any(|name| facts.text(name).contains(tool))
    };
    let has_tests = facts.has("tests") || facts.has("test");
    let uses_pytest = mentions("pytest") || facts.has("pytest.ini") || facts.has("conftest.py");
    if !uses_pytest && !has_tests {
        part.notes.push("a Python project without pytest and without a folder `tests`".to_owned());
        return Some(part);
    }
    install(
        facts,
        &mut part,
        &project,
        &requirements,
        is_package,
        uses_pytest && !mentions("pytest"),
    );
    let python = if part.setup.is_empty() { "python3" } else { ".venv/bin/python" };
    let (run, junit) = if uses_pytest {
        let report = "report/junit.xml".to_owned();
        (format!("{python} -m pytest --junitxml={report}"), Some(report))
    } else {
        let folder = if facts.has("tests") { "tests" } else { "test" };
        (format!("{python} -m unittest discover -s {folder} -t ."), None)
    };
    part.gates.push(ProposedGate { name: "test".to_owned(), run, junit });
    let has_ruff = project.get("tool").and_then(|tool| tool.get("ruff")).is_some()
        || facts.has("ruff.toml")
        || facts.has(".ruff.toml");
    if has_ruff && !part.setup.is_empty() {
        if !mentions_requirement(facts, "ruff") {
            part.setup.push(".venv/bin/pip install ruff".to_owned());
        }
        part.gate("lint", ".venv/bin/ruff check");
    }
    Some(part)
}

fn mentions_requirement(facts: &Facts, tool: &str) -> bool {
    let line = |line: &str| line.trim_start_matches([' ', '"', '\'']).starts_with(tool);
    let files = REQUIREMENTS.iter().chain(&["pyproject.toml"]);
    files.into_iter().any(|name| facts.text(name).lines().any(line))
}

fn install(
    facts: &Facts,
    part: &mut Part,
    project: &Table,
    requirements: &[String],
    is_package: bool,
    wants_pytest: bool,
) {
    let mut wanted: Vec<String> = requirements.iter().map(|name| format!("-r {name}")).collect();
    if is_package {
        wanted.push(format!("-e {}", with_extras(project)));
    }
    if wants_pytest {
        wanted.push("pytest".to_owned());
    }
    if wanted.is_empty() {
        return;
    }
    part.setup.push("python3 -m venv .venv".to_owned());
    part.setup.push(format!(".venv/bin/pip install {}", wanted.join(" ")));
    part.inputs = requirements.to_vec();
    if is_package {
        // A build reads these; the code itself is installed as a link, so empty files do.
        let read =
            ["pyproject.toml", "setup.cfg", "setup.py", "README.md", "README.rst", "LICENSE"];
        part.inputs.extend(facts.present(&read));
        part.placeholders.push("**/__init__.py".to_owned());
    }
}

/// The project with the optional dependencies that tests usually stand in.
fn with_extras(project: &Table) -> String {
    let extras = project.get("project").and_then(|project| project.get("optional-dependencies"));
    let known: Vec<&str> = ["dev", "test", "tests", "testing"]
        .into_iter()
        .filter(|name| extras.and_then(|extras| extras.get(name)).is_some_and(Value::is_array))
        .collect();
    if known.is_empty() { ".".to_owned() } else { format!("'.[{}]'", known.join(",")) }
}
