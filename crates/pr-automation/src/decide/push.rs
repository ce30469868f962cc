//! What a push to a branch starts: one run for each commit that the default branch comes to, and nothing else.
//!
//! The head of a pull request is the matter of its own events, which the forge sends beside the push: so one push
//! never makes two runs. Runs of the default branch need no order, for none supersedes another; a late or repeated
//! delivery meets the same key (repository, branch, commit).

use sandgate_forge::{BranchName, CommitId};

use crate::event::PushEvent;
use crate::trust::{TrustLists, TrustTier};

/// What follows from a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushDecision {
    /// Run this commit, unless that was done already.
    Start(PushRun),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// A run of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRun {
    /// The branch.
    pub branch: BranchName,
    /// The commit.
    pub head: CommitId,
    /// Where the branch stood before; none if it is new.
    pub before: Option<CommitId>,
    /// How far it is trusted.
    pub tier: TrustTier,
}

/// Decides on a push. `default_branch` is what we know of the repository; the event's own word counts first.
pub fn decide_push(
    event: &PushEvent,
    default_branch: Option<&BranchName>,
    lists: &TrustLists,
) -> PushDecision {
    let Some(head) = &event.after else {
        return PushDecision::Nothing("the branch was deleted");
    };
    if event.default_branch.as_ref().or(default_branch) != Some(&event.branch) {
        return PushDecision::Nothing(
            "only pushes to the default branch start runs; open a pull request for this one",
        );
    }
    PushDecision::Start(PushRun {
        branch: event.branch.clone(),
        head: head.clone(),
        before: event.before.clone(),
        tier: lists.push_tier(event),
    })
}
