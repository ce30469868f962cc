//! How far the code of a pull request is trusted.
//!
//! | where the head lies | who | tier |
//! |---|---|---|
//! | another repository, or one that is gone | anybody | fork |
//! | another repository | author on the list of members | member |
//! | the repository itself | author is a bot or on the list of agents | agent |
//! | the repository itself | head brought by a bot or somebody on the list of agents | agent |
//! | the repository itself | author neither owner, member, collaborator nor on the list of members | agent |
//! | the repository itself | anybody else | member |
//!
//! A branch of the repository itself was pushed by somebody who may write there; but a stranger may open a pull request
//! from such a branch, and the branch may be a bot's work. That is why an unknown author there is no member.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::{Account, Association, PullRequestEvent, PushEvent};

/// How far code is trusted; a later one is trusted more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustTier {
    /// From outside: runs only after approval, without secrets.
    Fork,
    /// By a machine or an unknown author with write access: runs, without secrets, with the base's configuration.
    Agent,
    /// By somebody who belongs here.
    Member,
}

impl TrustTier {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Agent => "agent",
            Self::Member => "member",
        }
    }
}

/// Logins that administrators named; case does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustLists {
    members: BTreeSet<String>,
    agents: BTreeSet<String>,
}

impl TrustLists {
    /// Takes the two lists. Who is on both is an agent.
    pub fn new<'a>(
        members: impl IntoIterator<Item = &'a str>,
        agents: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            members: members.into_iter().map(str::to_lowercase).collect(),
            agents: agents.into_iter().map(str::to_lowercase).collect(),
        }
    }

    /// The tier of the pull request by its author alone.
    pub fn author_tier(&self, event: &PullRequestEvent) -> TrustTier {
        let is_agent = event.author.as_ref().is_some_and(|author| self.is_agent(author));
        let is_listed = event
            .author
            .as_ref()
            .is_some_and(|author| self.members.contains(&author.login.to_lowercase()));
        match (event.is_fork, is_agent) {
            (true, false) if is_listed => TrustTier::Member,
            (true, _) => TrustTier::Fork,
            (false, true) => TrustTier::Agent,
            (false, false) if is_listed => TrustTier::Member,
            (false, false) => match event.association {
                Some(Association::Insider) | None => TrustTier::Member,
                Some(Association::Outsider) => TrustTier::Agent,
            },
        }
    }

    /// Whether the head that this event brings is an agent's work.
    pub fn is_agents_head(&self, event: &PullRequestEvent) -> bool {
        let by_agent = event.sender.as_ref().is_some_and(|sender| self.is_agent(sender));
        event.action.brings_head() && by_agent
    }

    /// The tier of what was pushed to a branch of the repository.
    pub fn push_tier(&self, event: &PushEvent) -> TrustTier {
        let by_agent = event.sender.as_ref().is_some_and(|sender| self.is_agent(sender));
        if by_agent { TrustTier::Agent } else { TrustTier::Member }
    }

    fn is_agent(&self, account: &Account) -> bool {
        account.is_bot || self.agents.contains(&account.login.to_lowercase())
    }
}
