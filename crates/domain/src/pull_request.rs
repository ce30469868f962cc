//! The facts in the events around pull requests: the `data` of `pr.*`, `branch.*` and `run.*`.
//!
//! Names of repositories and branches, and commit ids, were checked where they came in; texts from outside all the same.

use serde::{Deserialize, Serialize};

use crate::{GateResult, PullRequestId, RunId};

/// Of `pr.opened`, `pr.synchronize`, `pr.reopened`, `pr.ready_for_review`, `pr.converted_to_draft`, `pr.approved` and
/// `pr.closed`: what the pull request is like now. Another type of event with the same or a lower revision says nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestChanged {
    /// The repository, as it was added.
    pub repository: String,
    /// The pull request.
    pub pull_request: PullRequestId,
    /// Its number in the repository.
    pub number: u64,
    /// Counts what was asked for: the key of a run is the pull request and the revision, and a later one supersedes.
    pub revision: u64,
    /// Its newest commit.
    pub head_sha: String,
    /// The branch it comes from.
    pub head_branch: String,
    /// Where the branch stood that it goes into; none if it has to be looked up.
    pub base_sha: Option<String>,
    /// The branch it goes into.
    pub base_branch: String,
    /// `member`, `agent` or `fork`.
    pub tier: String,
    /// Why this is said, such as `pull_request.opened`, `approval` or `sweep`.
    pub trigger: String,
    /// Whether nothing may run before somebody approves this head.
    pub held: bool,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was merged.
    pub merged: bool,
}

/// Of `pr.superseded`: runs with a lower revision are to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunsSuperseded {
    /// The repository.
    pub repository: String,
    /// The pull request.
    pub pull_request: PullRequestId,
    /// Its number in the repository.
    pub number: u64,
    /// The first revision that stays.
    pub before: u64,
}

/// Of `branch.pushed`: the default branch came to a commit. The key of a run is the repository, the branch and the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchPushed {
    /// The repository, as it was added.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// Where it stands.
    pub head_sha: String,
    /// Where it stood; none if it is new.
    pub before_sha: Option<String>,
    /// `member` or `agent`.
    pub tier: String,
}

/// Of `run.queued`, `run.started` and `run.ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunChanged {
    /// The run.
    pub run: RunId,
    /// The pull request that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestId>,
    /// The repository.
    pub repository: String,
    /// The commit that is tested.
    pub sha: String,
    /// The revision of the pull request that it is for; 0 without one.
    #[serde(default)]
    pub generation: u64,
    /// The verdict, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<GateResult>,
}
