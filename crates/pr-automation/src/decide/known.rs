//! What is known of a pull request: a join of statements. Taking the same ones in any order, any number of times, gives
//! the same value. See the tie rule in the parent module.

use std::collections::BTreeSet;

use sandgate_domain::Timestamp;
use sandgate_forge::{BranchName, CommitId, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::event::{Action, PullRequestEvent};
use crate::trust::{TrustLists, TrustTier};

/// The most statements kept for one and the same time, and the most heads remembered as an agent's.
const MOST_STATEMENTS: usize = 32;
const MOST_AGENT_HEADS: usize = 256;

/// When a statement was true. One that tells no time is older than any that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum At {
    /// It tells no time: when it came.
    Received(Timestamp),
    /// The time that it tells.
    Stated(Timestamp),
}

/// What a statement says about open or closed; of two at the same time the later here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Claim {
    SaidOpen,
    SaidClosed,
    Opened,
    Closed,
    Reopened,
    Merged,
}

/// What a statement says about everything else. The order of the fields is that of the tie rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Statement {
    action: Action,
    head: CommitId,
    before: Option<CommitId>,
    after: Option<CommitId>,
    head_branch: BranchName,
    head_repository: Option<RepositoryName>,
    base_branch: BranchName,
    base: Option<CommitId>,
    is_draft: bool,
    author_tier: TrustTier,
    author: Option<String>,
    title: String,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    latest: Option<At>,
    /// The statements of the latest time.
    statements: BTreeSet<Statement>,
    claim: Option<(At, Claim)>,
    /// Heads that an agent brought, whenever that was.
    agent_heads: BTreeSet<CommitId>,
    /// More than can be remembered: then every head counts as an agent's.
    are_all_agents: bool,
}

/// Whether a pull request is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is open.
    Open,
    /// It was closed without a merge.
    Closed,
    /// It was merged.
    Merged,
}

impl Status {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Merged => "merged",
        }
    }
}

/// What a pull request is like now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whether it is open.
    pub status: Status,
    /// Whether it is a draft.
    pub is_draft: bool,
    /// The newest commit.
    pub head: CommitId,
    /// The branch it comes from: text from outside.
    pub head_branch: BranchName,
    /// The repository it comes from; none if that is gone.
    pub head_repository: Option<RepositoryName>,
    /// The branch it goes into.
    pub base_branch: BranchName,
    /// Where that branch stood; none if no event says so.
    pub base: Option<CommitId>,
    /// How far its head is trusted.
    pub tier: TrustTier,
    /// The login of who opened it: text from outside.
    pub author: Option<String>,
    /// Its title: text from outside.
    pub title: String,
}

impl Known {
    /// Takes a statement in.
    pub(super) fn take(&mut self, event: &PullRequestEvent, lists: &TrustLists, now: Timestamp) {
        let at = event.updated_at.map_or(At::Received(now), At::Stated);
        if lists.is_agents_head(event) && !self.are_all_agents {
            self.agent_heads.insert(event.head.clone());
            if self.agent_heads.len() > MOST_AGENT_HEADS {
                self.agent_heads.clear();
                self.are_all_agents = true;
            }
        }
        self.claim = self.claim.max(claim(event).map(|claim| (at, claim)));
        if self.latest < Some(at) {
            self.latest = Some(at);
            self.statements.clear();
        }
        if self.latest == Some(at) {
            self.statements.insert(statement(event, lists.author_tier(event)));
            while self.statements.len() > MOST_STATEMENTS {
                self.statements.pop_first();
            }
        }
    }

    /// What follows from all statements.
    pub fn view(&self) -> Option<View> {
        let last = self.last()?;
        let status = match self.claim.map(|(_, claim)| claim) {
            Some(Claim::Merged) => Status::Merged,
            Some(Claim::Closed | Claim::SaidClosed) => Status::Closed,
            Some(Claim::Opened | Claim::Reopened | Claim::SaidOpen) | None => Status::Open,
        };
        let is_agents = self.are_all_agents || self.agent_heads.contains(&last.head);
        let most = if is_agents { TrustTier::Agent } else { TrustTier::Member };
        Some(View {
            status,
            is_draft: last.is_draft,
            head: last.head.clone(),
            head_branch: last.head_branch.clone(),
            head_repository: last.head_repository.clone(),
            base_branch: last.base_branch.clone(),
            base: last.base.clone(),
            tier: last.author_tier.min(most),
            author: last.author.clone(),
            title: last.title.clone(),
        })
    }

    /// The statement that counts among those of the latest time.
    fn last(&self) -> Option<&Statement> {
        let is_left = |statement: &&Statement| !self.is_superseded(&statement.head);
        self.statements.iter().rfind(is_left).or_else(|| self.statements.last())
    }

    /// Whether the branch moved on from this commit, and not back to it.
    fn is_superseded(&self, head: &CommitId) -> bool {
        let behind = self.reachable(head);
        behind.iter().any(|later| !self.reachable(later).contains(head))
    }

    /// The commits that the branch moved to from this one, over any number of moves.
    fn reachable<'a>(&'a self, head: &'a CommitId) -> BTreeSet<&'a CommitId> {
        let mut found = BTreeSet::new();
        let mut open = vec![head];
        while let Some(from) = open.pop() {
            for statement in &self.statements {
                let is_move = statement.before.as_ref() == Some(from);
                let target = statement.after.as_ref().filter(|_| is_move);
                open.extend(target.filter(|target| found.insert(*target)));
            }
        }
        found
    }
}

fn claim(event: &PullRequestEvent) -> Option<Claim> {
    match event.action {
        Action::Opened => Some(Claim::Opened),
        Action::Reopened => Some(Claim::Reopened),
        Action::Closed if event.is_merged => Some(Claim::Merged),
        Action::Closed => Some(Claim::Closed),
        Action::ConvertedToDraft | Action::Synchronize | Action::ReadyForReview => {
            event.updated_at?;
            event.is_open.map(|is_open| if is_open { Claim::SaidOpen } else { Claim::SaidClosed })
        }
    }
}

fn statement(event: &PullRequestEvent, author_tier: TrustTier) -> Statement {
    Statement {
        action: event.action,
        head: event.head.clone(),
        before: event.before.clone(),
        after: event.after.clone().or_else(|| event.before.as_ref().map(|_| event.head.clone())),
        head_branch: event.head_branch.clone(),
        head_repository: event.head_repository.clone(),
        base_branch: event.base_branch.clone(),
        base: event.base.clone(),
        is_draft: event.is_draft,
        author_tier,
        author: event.author.as_ref().map(|author| author.login.clone()),
        title: event.title.clone(),
    }
}
