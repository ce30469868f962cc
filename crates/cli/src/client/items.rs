//! What the server answers, as far as it is read here. Everything else of it is kept, so that JSON is printed as it came.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass for the next page; none on the last one.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

/// A known repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Such as `owner/name`.
    pub name: String,
    /// Its folder on the machine of the server.
    pub path: String,
    /// The branch that pull requests go into.
    pub default_branch: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A pull request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest {
    /// What routes name it by.
    pub id: String,
    /// Its repository.
    pub repo: String,
    /// Its number there.
    pub number: u64,
    /// Its title, from outside.
    pub title: String,
    /// Who opened it, from outside.
    pub author: String,
    /// The newest commit.
    pub head_sha: String,
    /// The branch it comes from.
    pub head_branch: String,
    /// The branch it goes into.
    pub base_branch: String,
    /// `open` or `closed`.
    pub state: String,
    /// Whether it was merged.
    #[serde(default)]
    pub merged: bool,
    /// Whether its head waits for an approval.
    #[serde(default)]
    pub held: bool,
    /// Its checks.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Our comment, in Markdown.
    #[serde(default)]
    pub comment: Option<String>,
    /// The run of its head.
    #[serde(default)]
    pub run: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One check on a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// How it ended.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// What it says in a line.
    #[serde(default)]
    pub title: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its repository.
    pub repo: String,
    /// The commit.
    pub sha: String,
    /// The verdict; none until the end.
    pub result: Option<String>,
    /// `queued`, `running` or `ended`.
    pub state: String,
    /// The branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// From planned until its end, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// Why it waits, while it does.
    #[serde(default)]
    pub waiting: Option<String>,
    /// Its gates.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// Its setups.
    #[serde(default)]
    pub setups: Vec<Gate>,
    /// The snapshots of gates that did not pass, by gate.
    #[serde(default)]
    pub debug_snapshots: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A gate or setup of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What routes name it by.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `waiting`, `ready`, `claimed` or `ended`.
    pub state: String,
    /// None until the end.
    pub result: Option<String>,
    /// Why it waits, while it does.
    #[serde(default)]
    pub waiting: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}
