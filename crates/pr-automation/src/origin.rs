//! Where a commit comes from, for runs that somebody asks for by hand: its trust is that of who brought it, not of who asks.
//!
//! | the commit | tier |
//! |---|---|
//! | is in the default branch, or in the branch that its pull request goes into | member |
//! | is or was the head of pull requests | the best of their tiers |
//! | lies below such heads | the best of their tiers; an approval was of the head alone |
//! | is known from nowhere else | member: it lies in the repository itself |

use sandgate_domain::TrustTier;
use sandgate_forge::local::{Mirror, Wanted};
use sandgate_forge::{BranchName, CommitId, Error as ForgeError, RepositoryName};
use sandgate_store::{KnownRepository, PullRequestHead};

use crate::Error;
use crate::change::state_of;
use crate::decide::View;
use crate::service::Core;
use crate::source::unreachable;

/// How many heads are looked at for a commit that is none itself.
const HEADS: u32 = 200;

/// Where a commit comes from.
pub(crate) struct Origin {
    /// How far it is trusted.
    pub(crate) tier: TrustTier,
    /// Whether nobody looked at exactly this commit, and somebody has to.
    pub(crate) is_held: bool,
    /// The pull request that brings it, if that decides the tier: its number, and what it is like now.
    pub(crate) pull: Option<(u64, View)>,
}

const OUR_OWN: Origin = Origin { tier: TrustTier::Member, is_held: false, pull: None };

impl Core {
    /// Finds out where a commit comes from.
    pub(crate) async fn trace(
        &self,
        name: &RepositoryName,
        commit: &CommitId,
    ) -> Result<Origin, Error> {
        let repository = self.repository(name).await?;
        let pulls = self.store.pull_requests(&self.settings.tenant);
        let heads = pulls.heads_at(&repository.key, commit.as_str()).await?;
        if heads.iter().any(|head| head.tier == TrustTier::Member) {
            return Ok(OUR_OWN);
        }
        let mirror = self.mirrors.get(name)?;
        let fetched = mirror.fetch(&[Wanted::Commit(commit.clone())]).await;
        fetched.map_err(|error| unreachable(&mirror, error))?;
        if let Some(branch) = mirror.default_branch()
            && is_in(&mirror, commit, branch).await?
        {
            return Ok(OUR_OWN);
        }
        let heads = match heads[..] {
            [] => self.heads_above(&repository, &mirror, commit).await?,
            [_, ..] => heads,
        };
        let best = heads.into_iter().min_by_key(|head| (head.tier, !head.is_approved));
        let Some(head) = best.filter(|head| head.tier != TrustTier::Member) else {
            return Ok(OUR_OWN);
        };
        let Some(stored) = pulls.get(head.pull_request).await? else {
            let is_held = head.tier == TrustTier::Fork;
            return Ok(Origin { tier: head.tier, is_held, pull: None });
        };
        let view = state_of(&stored)?.view();
        if let Some(view) = &view
            && is_in(&mirror, commit, &view.base_branch).await?
        {
            return Ok(OUR_OWN);
        }
        let is_held = head.tier == TrustTier::Fork && !head.is_approved;
        Ok(Origin { tier: head.tier, is_held, pull: view.map(|view| (stored.number, view)) })
    }

    /// The heads that a commit is a part of; an approval of one of them was not one of this commit.
    async fn heads_above(
        &self,
        repository: &KnownRepository,
        mirror: &Mirror,
        commit: &CommitId,
    ) -> Result<Vec<PullRequestHead>, Error> {
        let pulls = self.store.pull_requests(&self.settings.tenant);
        let mut above = Vec::new();
        for head in pulls.newest_heads(&repository.key, HEADS).await? {
            if is_below(mirror, commit, &head.sha.parse()?).await? {
                above.push(PullRequestHead { is_approved: false, ..head });
            }
        }
        Ok(above)
    }
}

/// Whether a branch of the repository itself has the commit. A branch that is gone has none.
async fn is_in(mirror: &Mirror, commit: &CommitId, branch: &BranchName) -> Result<bool, Error> {
    match mirror.fetch(&[Wanted::Branch(branch.clone())]).await {
        Ok(()) => {}
        Err(ForgeError::MissingBranch { .. }) => return Ok(false),
        Err(error) => return Err(unreachable(mirror, error)),
    }
    is_below(mirror, commit, &mirror.resolve(branch).await?).await
}

/// Whether one commit is another one, or lies below it. A commit that is not here has nothing below it.
async fn is_below(mirror: &Mirror, lower: &CommitId, upper: &CommitId) -> Result<bool, Error> {
    match mirror.merge_base(lower, upper).await {
        Ok(base) => Ok(base.as_ref() == Some(lower)),
        Err(ForgeError::MissingCommit { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
