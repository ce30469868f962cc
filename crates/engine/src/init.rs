//! Proposes a `.sandgate.yaml` for a repository that has none, from what stands at its root.
//!
//! One function a language looks at the [`Facts`] and gives a [`Part`]; the parts become one file that reads as if written
//! by hand. A proposal always parses, and never asks for anything that is not built.

use std::collections::{BTreeMap, BTreeSet};

use sandgate_domain::ErrorCode;

mod go;
mod makefile;
mod node;
mod python;
mod rust;
mod write;

/// The largest file that is looked into, in bytes.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The files whose contents [`propose`] wants to see.
pub const CONTENTS: &[&str] = &[
    "Cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.cfg",
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-test.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
    "test-requirements.txt",
    "go.mod",
    "Makefile",
    "makefile",
    "GNUmakefile",
];

/// What is known about a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The names of files and folders at the root.
    pub names: BTreeSet<String>,
    /// The contents of those of [`CONTENTS`] that are there.
    pub contents: BTreeMap<String, Vec<u8>>,
}

/// A file to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text of the file.
    pub yaml: String,
    /// The names of its gates.
    pub gates: Vec<String>,
    /// What to look at, for people.
    pub notes: Vec<String>,
}

/// Why there is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing that we know stands at the root.
    #[error(
        "found none of Cargo.toml, package.json, pyproject.toml, setup.cfg, setup.py, requirements.txt, go.mod and \
         Makefile at the root of the repository, so there is nothing to infer gates from; write a `.sandgate.yaml` with \
         `version: 1` and at least one gate"
    )]
    NothingKnown,
    /// Something stands there, but it tells no command.
    #[error("found no commands for gates: {}; write a `.sandgate.yaml` with at least one gate", .found.join("; "))]
    NoCommands {
        /// What was found, and what is missing in it.
        found: Vec<String>,
    },
}

impl ProposeError {
    /// The general code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::NotFound
    }
}

/// What one language adds.
#[derive(Debug, Default)]
struct Part {
    /// What gates are told apart by if several languages have the same.
    language: &'static str,
    /// Commands of the setup, with what they see.
    setup: Vec<String>,
    inputs: Vec<String>,
    placeholders: Vec<String>,
    gates: Vec<ProposedGate>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct ProposedGate {
    name: String,
    run: String,
    junit: Option<String>,
}

impl Part {
    fn gate(&mut self, name: &str, run: impl Into<String>) {
        self.gates.push(ProposedGate { name: name.to_owned(), run: run.into(), junit: None });
    }
}

impl Facts {
    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Those of `names` that are there.
    fn present(&self, names: &[&str]) -> Vec<String> {
        names.iter().filter(|name| self.has(name)).map(|name| (*name).to_owned()).collect()
    }

    /// The text of a file; empty if it is not there, too large or no text.
    fn text(&self, name: &str) -> &str {
        let bytes = self.contents.get(name).map(Vec::as_slice).unwrap_or_default();
        if bytes.len() > MAX_FILE_BYTES {
            return "";
        }
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Proposes a file.
///
/// # Errors
/// Nothing to infer gates from; the error says what was looked for.
pub fn propose(facts: &Facts) -> Result<Proposal, ProposeError> {
    let languages = [rust::part(facts), node::part(facts), python::part(facts), go::part(facts)];
    let mut parts: Vec<Part> = languages.into_iter().flatten().collect();
    // A Makefile usually calls the tools of the language, so it is asked only where no language has gates.
    if parts.iter().all(|part| part.gates.is_empty()) {
        parts.extend(makefile::part(facts));
    }
    let notes: Vec<String> = parts.iter().flat_map(|part| part.notes.clone()).collect();
    if parts.is_empty() {
        return Err(ProposeError::NothingKnown);
    }
    parts.retain(|part| !part.gates.is_empty());
    if parts.is_empty() {
        return Err(ProposeError::NoCommands { found: notes });
    }
    tell_apart(&mut parts);
    let gates = parts.iter().flat_map(|part| &part.gates).map(|gate| gate.name.clone()).collect();
    Ok(Proposal { yaml: write::file(&parts), gates, notes })
}

/// `test` of two languages becomes `test-rust` and `test-node`.
fn tell_apart(parts: &mut [Part]) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for gate in parts.iter().flat_map(|part| &part.gates) {
        *count.entry(gate.name.clone()).or_default() += 1;
    }
    for part in parts {
        for gate in &mut part.gates {
            if count[&gate.name] > 1 {
                gate.name = format!("{}-{}", gate.name, part.language);
            }
        }
    }
}

#[cfg(test)]
mod tests;
