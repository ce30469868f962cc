//! The files of known repositories: what a pull request's run checks out, and which configuration counts for it.

use std::path::PathBuf;

use sandgate_forge::local::{ChangedPaths, Mirror, Wanted};
use sandgate_forge::{BranchName, CommitId, Error as ForgeError, RepositoryName};

use crate::Error;
use crate::service::Core;
use crate::trust::TrustTier;

/// What is to be tested.
pub(crate) struct Request {
    pub(crate) repository: RepositoryName,
    pub(crate) head: CommitId,
    pub(crate) head_branch: Option<BranchName>,
    pub(crate) base_branch: Option<BranchName>,
    pub(crate) base: Option<CommitId>,
    pub(crate) tier: TrustTier,
}

/// What a run checks out.
pub(crate) struct Resolved {
    /// The commit to test, or why there is none.
    pub(crate) test: Result<CommitId, Conflict>,
    /// The commit whose configuration counts.
    pub(crate) config: CommitId,
    pub(crate) base: Option<CommitId>,
    pub(crate) folder: PathBuf,
}

/// Why a head can't be merged into its base.
pub(crate) struct Conflict {
    pub(crate) reason: String,
    pub(crate) paths: Vec<String>,
}

impl Core {
    /// Brings the commits here and makes the one to test.
    pub(crate) async fn resolve(&self, request: Request) -> Result<Resolved, Error> {
        let mirror = self.mirrors.get(&request.repository)?;
        let head = &request.head;
        let mut wanted = vec![wanted_head(head, request.head_branch)];
        match (&request.base, &request.base_branch) {
            (Some(base), _) => wanted.push(wanted_head(base, request.base_branch.clone())),
            (None, Some(branch)) => wanted.push(Wanted::Branch(branch.clone())),
            (None, None) => {}
        }
        mirror.fetch(&wanted).await.map_err(|error| unreachable(&mirror, error))?;
        let base = match (request.base, &request.base_branch) {
            (Some(base), _) => Some(base),
            (None, Some(branch)) => Some(mirror.resolve(branch).await?),
            (None, None) => None,
        };
        let test = match &base {
            Some(base) => merge(&mirror, base, head).await?,
            None => Ok(head.clone()),
        };
        // What a stranger or a machine brings must not change what is run.
        let config = match (request.tier, &base, &test) {
            (TrustTier::Member, _, Ok(test)) => test.clone(),
            (TrustTier::Member, _, Err(_)) | (_, None, _) => head.clone(),
            (TrustTier::Agent | TrustTier::Fork, Some(base), _) => base.clone(),
        };
        Ok(Resolved { test, config, base, folder: mirror.path().to_owned() })
    }

    /// Where a commit lies on this machine.
    pub(crate) async fn locate(
        &self,
        repository: &RepositoryName,
        commit: &CommitId,
    ) -> Result<PathBuf, Error> {
        let mirror = self.mirrors.get(repository)?;
        let fetched = mirror.fetch(&[Wanted::Commit(commit.clone())]).await;
        fetched.map_err(|error| unreachable(&mirror, error))?;
        Ok(mirror.path().to_owned())
    }

    /// One file of a commit.
    pub(crate) async fn read_file(
        &self,
        repository: &RepositoryName,
        commit: &CommitId,
        path: &str,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        Ok(self.mirrors.get(repository)?.read_file(commit, path, limit).await?)
    }

    /// The paths that a head changes since it left its base; none if that can't be told.
    pub(crate) async fn changed_paths(
        &self,
        repository: &RepositoryName,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Option<Vec<String>>, Error> {
        match self.mirrors.get(repository)?.changed_paths(base, head).await {
            Ok(ChangedPaths { paths, is_complete }) => Ok(is_complete.then_some(paths)),
            Err(ForgeError::Unrelated { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What was a repository when it was added, and is none now, is away: it may come back.
pub(crate) fn unreachable(mirror: &Mirror, error: ForgeError) -> Error {
    if let ForgeError::NotARepository { path } | ForgeError::OwnedByOther { path } = error {
        return Error::SourceAway { name: mirror.name().clone(), path };
    }
    error.into()
}

fn wanted_head(commit: &CommitId, branch: Option<BranchName>) -> Wanted {
    match branch {
        Some(branch) => Wanted::Head { branch, commit: commit.clone() },
        None => Wanted::Commit(commit.clone()),
    }
}

async fn merge(
    mirror: &Mirror,
    base: &CommitId,
    head: &CommitId,
) -> Result<Result<CommitId, Conflict>, Error> {
    let error = match mirror.merge_commit(base, head).await {
        Ok(commit) => return Ok(Ok(commit)),
        Err(error) => error,
    };
    let reason = error.to_string();
    if let ForgeError::Conflict { paths, .. } = error {
        return Ok(Err(Conflict { reason, paths }));
    }
    if matches!(error, ForgeError::Unrelated { .. }) {
        return Ok(Err(Conflict { reason, paths: Vec::new() }));
    }
    Err(error.into())
}
