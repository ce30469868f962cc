//! Branches that are pushed to us: what `sandgate pr open` and `pr push` make. The source is never written to.

use std::path::Path;

use super::fetch::is_in_the_way;
use super::mirror::Mirror;
use crate::error::{Error, Result};
use crate::names::{BranchName, CommitId};

/// What a push changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchUpdate {
    /// Where the branch stood; `None` if it is new.
    pub before: Option<CommitId>,
    /// Where it stands.
    pub after: CommitId,
}

impl Mirror {
    /// Sets a branch here to a commit that the mirror has.
    pub async fn set_branch(&self, branch: &BranchName, commit: &CommitId) -> Result<BranchUpdate> {
        self.check_writable(branch)?;
        if !self.has(commit).await? {
            return Err(self.missing(commit));
        }
        let _writing = self.lock().await;
        let before = self.pushed(branch).await?;
        let answer = self
            .call("write a branch")
            .arguments(["update-ref", &format!("refs/heads/{branch}"), commit.as_str()])
            .answer()
            .await?;
        if is_in_the_way(&answer) {
            return Err(in_the_way(branch));
        }
        if answer.status != 0 {
            return Err(answer.into_error("write a branch"));
        }
        Ok(BranchUpdate { before, after: commit.clone() })
    }

    /// Takes what `checkout` (any repository on this disk) has committed, its HEAD or a branch, as a branch here.
    /// A history that was rewritten replaces the old one, as a forced push does.
    pub async fn push_branch(
        &self,
        branch: &BranchName,
        checkout: &Path,
        from: Option<&BranchName>,
    ) -> Result<BranchUpdate> {
        self.check_writable(branch)?;
        let path = checkout
            .canonicalize()
            .ok()
            .filter(|path| path.is_dir())
            .ok_or_else(|| Error::NotARepository { path: checkout.to_owned() })?;
        let _writing = self.lock().await;
        let before = self.pushed(branch).await?;
        let what = from.map_or_else(|| "HEAD".to_owned(), |from| format!("refs/heads/{from}"));
        let answer = self.fetch_from(&path, &[], &format!("+{what}:refs/heads/{branch}")).await?;
        if answer.says("couldn't find remote ref") {
            return Err(match from {
                Some(from) => self.missing_branch(from),
                None => Error::EmptyRepository { path },
            });
        }
        if is_in_the_way(&answer) {
            return Err(in_the_way(branch));
        }
        self.fetched(answer, &path)?;
        let after = self.pushed(branch).await?.ok_or_else(|| self.missing_branch(branch))?;
        Ok(BranchUpdate { before, after })
    }

    /// Removes a branch that was pushed here; its commits stay.
    pub async fn delete_branch(&self, branch: &BranchName) -> Result<()> {
        let _writing = self.lock().await;
        if self.pushed(branch).await?.is_none() {
            return Err(self.missing_branch(branch));
        }
        self.call("delete a branch")
            .arguments(["update-ref", "-d", &format!("refs/heads/{branch}")])
            .run()
            .await?;
        Ok(())
    }

    async fn pushed(&self, branch: &BranchName) -> Result<Option<CommitId>> {
        let branches = self.read_branches(&[&format!("refs/heads/{branch}")]).await?;
        let found = branches.into_iter().find(|found| found.is_pushed && found.name == *branch);
        Ok(found.map(|found| found.commit))
    }

    fn check_writable(&self, branch: &BranchName) -> Result<()> {
        if self.default_branch() == Some(branch) {
            return Err(Error::BranchRefused {
                branch: branch.clone(),
                problem: "it is the default branch of the repository; choose another name",
            });
        }
        Ok(())
    }
}

fn in_the_way(branch: &BranchName) -> Error {
    Error::BranchRefused {
        branch: branch.clone(),
        problem: "another branch's name is a part of this one, or the other way round",
    }
}
