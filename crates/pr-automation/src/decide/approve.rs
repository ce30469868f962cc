//! A member lets the present head of a held pull request run.

use sandgate_domain::{ErrorCode, Timestamp};
use sandgate_forge::CommitId;
use serde::{Deserialize, Serialize};

use super::{Activity, Decision, PullRequest, Status, settle};
use crate::event::Trigger;

/// Who approved what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The commit that was looked at.
    pub head: CommitId,
    /// Who did.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An approval that changes nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefused {
    /// The head moved since it was looked at.
    #[error("the head is {present} by now, not {given}: look at it and approve that one")]
    OtherHead {
        /// What was approved.
        given: CommitId,
        /// What the head is.
        present: CommitId,
    },
    /// It is closed or merged.
    #[error("the pull request is {}: there is nothing to approve", .status.as_str())]
    NotOpen {
        /// What it is.
        status: Status,
    },
    /// It never had to wait.
    #[error("the pull request does not wait for an approval")]
    NotHeld,
}

impl ApprovalRefused {
    /// What kind of failure it is for the caller.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OtherHead { .. } | Self::NotOpen { .. } | Self::NotHeld => ErrorCode::Conflict,
        }
    }
}

/// Approves exactly this head. Doing it twice is doing it once.
pub fn approve(
    previous: &PullRequest,
    head: &CommitId,
    by: &str,
    now: Timestamp,
) -> Result<Decision, ApprovalRefused> {
    let view = previous.view().ok_or(ApprovalRefused::NotHeld)?;
    if view.status != Status::Open {
        return Err(ApprovalRefused::NotOpen { status: view.status });
    }
    if view.head != *head {
        return Err(ApprovalRefused::OtherHead { given: head.clone(), present: view.head });
    }
    if previous.approval.as_ref().is_some_and(|approval| approval.head == *head) {
        return Ok(Decision { state: previous.clone(), effects: Vec::new() });
    }
    if !matches!(previous.activity, Activity::Held { .. }) {
        return Err(ApprovalRefused::NotHeld);
    }
    let mut state = previous.clone();
    state.approval = Some(Approval { head: head.clone(), by: by.to_owned(), at: now });
    Ok(settle(previous, state, Trigger::Approval, now))
}
