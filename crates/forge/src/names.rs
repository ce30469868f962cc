//! The names that come from outside: repositories, branches and commits.
//!
//! Each is checked where it enters and carries the proof in its type. A branch name may still hold anything that git
//! allows (a leading dash, quotes, `$(…)`, bidirectional controls): it is data, passed to git only behind a full
//! `refs/…` prefix and escaped by whoever shows it.

use std::fmt;
use std::str::FromStr;

use sandgate_objects::ObjectId;
use serde::{Deserialize, Serialize};

/// The longest branch name taken, in bytes: what forges and file systems hold.
pub const MAX_BRANCH_BYTES: usize = 244;
const MAX_OWNER_BYTES: usize = 100;
const MAX_REPOSITORY_BYTES: usize = 100;
const SHOWN_CHARACTERS: usize = 80;

/// A text that can't be such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a {kind}: {problem}", .text.escape_debug())]
pub struct NameError {
    /// `repository name`, `branch name` or `commit id`.
    pub kind: &'static str,
    /// The rule that it breaks.
    pub problem: &'static str,
    /// What was given, shortened to 80 characters.
    pub text: String,
}

impl NameError {
    fn new(kind: &'static str, problem: &'static str, text: &str) -> Self {
        Self { kind, problem, text: text.chars().take(SHOWN_CHARACTERS).collect() }
    }
}

/// `owner/repository`, as forges write it. Two spellings that differ in case are one repository for a forge;
/// compare [`RepositoryName::key`] where that matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part behind the slash.
    pub fn repository(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, repository)| repository)
    }

    /// The name in lower case: equal for all spellings of one repository.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match repository_problem(text) {
            Some(problem) => Err(NameError::new("repository name", problem, text)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn repository_problem(text: &str) -> Option<&'static str> {
    let Some((owner, repository)) = text.split_once('/') else {
        return Some("it has the form owner/repository");
    };
    if owner.is_empty() || repository.is_empty() {
        return Some("it has the form owner/repository");
    }
    if owner.len() > MAX_OWNER_BYTES || repository.len() > MAX_REPOSITORY_BYTES {
        return Some("each part has at most 100 characters");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !owner.bytes().chain(repository.bytes()).all(is_plain) {
        return Some("each part is made of letters, digits, `-`, `_` and `.`");
    }
    if owner.starts_with(['-', '.']) {
        return Some("an owner starts with a letter or a digit");
    }
    let lower = repository.to_ascii_lowercase();
    if matches!(lower.as_str(), "." | "..") || lower.ends_with(".git") {
        return Some("a repository is not called `.` or `..` and does not end in `.git`");
    }
    None
}

/// The name of a branch without `refs/heads/`, by the rules of `git check-ref-format`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BranchName(String);

impl BranchName {
    /// The name as git knows it: data, to be escaped wherever it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BranchName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match branch_problem(text) {
            Some(problem) => Err(NameError::new("branch name", problem, text)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn branch_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_BRANCH_BYTES {
        return Some("it is longer than 244 bytes");
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("it holds a control character or a line break");
    }
    if text.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
        return Some("it holds a space or one of ~ ^ : ? * [ \\");
    }
    if text.contains("..") || text.contains("@{") {
        return Some("it holds `..` or `@{`");
    }
    if text == "@" || text == "HEAD" || text.ends_with('.') {
        return Some("it is `@` or `HEAD`, or ends in a full stop");
    }
    let is_bad_part =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.split('/').any(is_bad_part) {
        return Some("a part between slashes is empty, starts with a full stop or ends in `.lock`");
    }
    None
}

/// The full id of a commit: 40 (SHA-1) or 64 (SHA-256) hex digits, held in lower case. Never the all-zero id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CommitId(String);

impl CommitId {
    /// All digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn id(&self) -> Result<ObjectId, sandgate_objects::Error> {
        self.0.parse().map_err(|_| sandgate_objects::Error::Answer { what: self.0.clone() })
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !matches!(text.len(), 40 | 64) {
            return Err(NameError::new("commit id", "it has 40 or 64 hex digits", text));
        }
        if text.bytes().all(|byte| byte == b'0') {
            return Err(NameError::new("commit id", "the zero id stands for no commit", text));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    )*};
}

text_conversions!(RepositoryName, BranchName, CommitId);

#[cfg(test)]
mod tests;
