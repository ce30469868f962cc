//! What a delivery says, in our words: only the fields that something is decided by.

use std::fmt;

use sandgate_domain::Timestamp;
use sandgate_forge::{BranchName, CommitId, RepositoryName};
use serde::{Deserialize, Serialize};

/// One delivery that was signed and understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The sender's id of the delivery; a redelivery carries the same.
    pub delivery_id: String,
    /// SHA-256 of the body as it came, in hex: the same id with another digest is a clash.
    pub body_digest: String,
    /// The event's name, such as `pull_request`.
    pub name: String,
    /// The event's action, such as `opened`.
    pub action: Option<String>,
    /// The repository that it is about.
    pub repository: Option<RepositoryName>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A pull request changed.
    PullRequest(Box<PullRequestEvent>),
    /// A branch moved.
    Push(Box<PushEvent>),
    /// The sender tries its hook.
    Ping,
    /// Nothing that we act on.
    Ignored {
        /// Why not.
        reason: String,
    },
}

/// What was done to a pull request. The order is that of the tie rule in [`crate::decide`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Opened,
    /// It became a draft.
    ConvertedToDraft,
    /// Its branch moved.
    Synchronize,
    /// It is no draft any more.
    ReadyForReview,
    /// It was opened again.
    Reopened,
    /// It was closed, merged or not.
    Closed,
}

impl Action {
    /// All actions, for tables.
    pub const ALL: [Self; 6] = [
        Self::Opened,
        Self::ConvertedToDraft,
        Self::Synchronize,
        Self::ReadyForReview,
        Self::Reopened,
        Self::Closed,
    ];

    /// The forge's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::ConvertedToDraft => "converted_to_draft",
            Self::Synchronize => "synchronize",
            Self::ReadyForReview => "ready_for_review",
            Self::Reopened => "reopened",
            Self::Closed => "closed",
        }
    }

    /// Whether it brings a new head, and so whose work the head is.
    pub fn brings_head(self) -> bool {
        matches!(self, Self::Opened | Self::Synchronize)
    }
}

/// Who did something: a login is text from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The login name.
    pub login: String,
    /// Whether the forge calls it a bot.
    pub is_bot: bool,
}

/// How the author stands to the repository, in the forge's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Association {
    /// Owner, member of the organisation, or collaborator.
    Insider,
    /// Anything else that the forge states.
    Outsider,
}

/// A pull request as it was when something happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestEvent {
    /// What happened.
    pub action: Action,
    /// Its number in the repository.
    pub number: u64,
    /// When the forge last changed it, usually to the second; none if the sender leaves it out.
    pub updated_at: Option<Timestamp>,
    /// Whether the forge calls it open, in this very state of it; none if the sender leaves it out.
    pub is_open: Option<bool>,
    /// Whether it was merged.
    pub is_merged: bool,
    /// Whether it is a draft.
    pub is_draft: bool,
    /// The newest commit.
    pub head: CommitId,
    /// The branch it comes from.
    pub head_branch: BranchName,
    /// The repository it comes from; none if that was deleted.
    pub head_repository: Option<RepositoryName>,
    /// Whether it comes from another repository than it goes into, or from one that is gone.
    pub is_fork: bool,
    /// The branch it goes into.
    pub base_branch: BranchName,
    /// Where that branch stood; none if the sender leaves it out.
    pub base: Option<CommitId>,
    /// For a moved branch: where it stood before.
    pub before: Option<CommitId>,
    /// For a moved branch: where it went.
    pub after: Option<CommitId>,
    /// Who opened it.
    pub author: Option<Account>,
    /// How the author stands to the repository; none if the sender leaves it out.
    pub association: Option<Association>,
    /// Who did this.
    pub sender: Option<Account>,
    /// Its title: text from outside, shortened.
    pub title: String,
}

/// A branch that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushEvent {
    /// The branch.
    pub branch: BranchName,
    /// Where it stood; none if it is new.
    pub before: Option<CommitId>,
    /// Where it stands; none if it was deleted.
    pub after: Option<CommitId>,
    /// The default branch of the repository; none if the sender leaves it out.
    pub default_branch: Option<BranchName>,
    /// Who did this.
    pub sender: Option<Account>,
}

/// Why a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Something happened to a pull request.
    PullRequest(Action),
    /// A member approved the head of a held pull request.
    Approval,
    /// The default branch moved.
    Push,
}

impl fmt::Display for Trigger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullRequest(action) => write!(formatter, "pull_request.{}", action.as_str()),
            Self::Approval => formatter.write_str("approval"),
            Self::Push => formatter.write_str("push"),
        }
    }
}

/// What makes two deliveries one although their ids differ: two hooks that report the same thing.
///
/// The time of the change belongs to it, for a branch that is forced back, or a pull request that is closed and
/// opened again, comes to the same head by the same action a second time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SemanticKey {
    repository: String,
    pull_request: Option<u64>,
    head: Option<CommitId>,
    trigger: Trigger,
    updated_at: Option<Timestamp>,
}

impl Event {
    /// The key; none for a delivery that nothing is done for.
    pub fn semantic_key(&self) -> Option<SemanticKey> {
        let repository = self.repository.as_ref()?.key();
        match &self.kind {
            EventKind::PullRequest(event) => Some(SemanticKey {
                repository,
                pull_request: Some(event.number),
                head: Some(event.head.clone()),
                trigger: Trigger::PullRequest(event.action),
                updated_at: event.updated_at,
            }),
            EventKind::Push(event) => Some(SemanticKey {
                repository: format!("{repository}:{}", event.branch),
                pull_request: None,
                head: event.after.clone(),
                trigger: Trigger::Push,
                updated_at: None,
            }),
            EventKind::Ping | EventKind::Ignored { .. } => None,
        }
    }
}

impl fmt::Display for SemanticKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if let Some(number) = self.pull_request {
            write!(formatter, "#{number}")?;
        }
        let head = self.head.as_ref().map_or("-", CommitId::as_str);
        write!(formatter, "@{head}:{}", self.trigger)?;
        match self.updated_at {
            Some(updated_at) => write!(formatter, ":{}", updated_at.as_micros()),
            None => Ok(()),
        }
    }
}
