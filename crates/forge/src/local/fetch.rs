//! Bringing commits from the source into the mirror.
//!
//! The way of a webhook to its gate leads through [`Mirror::fetch`]: a commit that was asked for before costs one look
//! at a file. Every object that comes in is checked by git (`fsck`), and a wanted commit gets a reference of its own,
//! so that it outlives its branch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::{Answer, Git};
use super::mirror::Mirror;
use crate::error::{Error, Result};
use crate::names::{BranchName, CommitId};

const FETCH: Duration = Duration::from_secs(600);
const ADVERTISEMENT: usize = 64 << 20;
const ALL_BRANCHES: &str = "+refs/heads/*:refs/remotes/source/*";

/// What a caller needs to be in the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A commit with all its history; nothing is fetched if it is there.
    Commit(CommitId),
    /// The same, for a commit that is likely to be the newest of this branch: cheaper to find.
    Head {
        /// The branch, of the source or pushed here.
        branch: BranchName,
        /// The commit.
        commit: CommitId,
    },
    /// A branch of the source, as it is now.
    Branch(BranchName),
    /// All branches of the source, as they are now; those that it lost are forgotten.
    Branches,
}

impl Mirror {
    /// Makes everything wanted present. Does nothing, quickly, when only commits are wanted and all are here.
    pub async fn fetch(&self, wanted: &[Wanted]) -> Result<()> {
        let mut missing = Vec::new();
        for want in wanted {
            match want {
                Wanted::Commit(commit) if self.is_kept(commit) => {}
                Wanted::Head { branch, commit } if self.keep_head(branch, commit)? => {}
                Wanted::Commit(_) | Wanted::Head { .. } | Wanted::Branch(_) | Wanted::Branches => {
                    missing.push(want)
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let _writing = self.lock().await;
        if missing.contains(&&Wanted::Branches) {
            self.fetch_branches().await?;
        }
        for want in missing {
            match want {
                Wanted::Commit(commit) | Wanted::Head { commit, .. } => {
                    self.fetch_commit(commit).await?;
                }
                Wanted::Branch(branch) => self.fetch_branch(branch).await?,
                Wanted::Branches => {}
            }
        }
        Ok(())
    }

    /// Whether the commit is here with everything that it needs.
    pub async fn has(&self, commit: &CommitId) -> Result<bool> {
        if self.is_kept(commit) {
            return Ok(true);
        }
        self.is_whole(commit).await
    }

    pub(super) async fn fetch_branches(&self) -> Result<()> {
        let answer = self.fetch_from(&self.record().source, &["--prune"], ALL_BRANCHES).await?;
        self.fetched(answer, &self.record().source)
    }

    async fn fetch_branch(&self, branch: &BranchName) -> Result<()> {
        let refspec = format!("+refs/heads/{branch}:refs/remotes/source/{branch}");
        let source = &self.record().source;
        let answer = self.fetch_from(source, &[], &refspec).await?;
        if answer.says("couldn't find remote ref") {
            return Err(self.missing_branch(branch));
        }
        if is_in_the_way(&answer) {
            // `topic` became `topic/one` in the source: forgetting what it lost makes room.
            return self.fetch_branches().await;
        }
        self.fetched(answer, source)
    }

    async fn fetch_commit(&self, commit: &CommitId) -> Result<()> {
        if self.is_kept(commit) {
            return Ok(());
        }
        let keep = keep_reference(commit);
        if self.is_whole(commit).await? {
            return self.write_reference(&keep, commit);
        }
        let source = &self.record().source;
        let answer = self.fetch_from(source, &[], &format!("{commit}:{keep}")).await?;
        if answer.says("not our ref") || answer.says("unadvertised object") {
            return Err(self.missing(commit));
        }
        self.fetched(answer, source)?;
        if self.is_commit(commit).await? {
            return Ok(());
        }
        self.call("forget an object").arguments(["update-ref", "-d", &keep]).run().await?;
        Err(self.missing(commit))
    }

    /// Fetches from a repository on disk; the answer still has to be judged.
    pub(super) async fn fetch_from(
        &self,
        source: &Path,
        options: &[&str],
        refspec: &str,
    ) -> Result<Answer> {
        self.call("fetch")
            .arguments(["fetch", "--quiet", "--no-tags", "--no-auto-maintenance"])
            .arguments(["--no-write-fetch-head", "--no-recurse-submodules"])
            .arguments(["--no-show-forced-updates"])
            .arguments(options)
            .argument("--end-of-options")
            .argument(source)
            .argument(refspec)
            .deadline(FETCH)
            .answer()
            .await
    }

    pub(super) fn fetched(&self, answer: Answer, source: &Path) -> Result<()> {
        if answer.status == 0 {
            return Ok(());
        }
        let is_unsound = ["fsck error", "error in object", "unresolved deltas", "bad object"];
        if is_unsound.iter().any(|sign| answer.says(sign)) {
            return Err(Error::Unsound { repository: self.name().clone(), detail: answer.stderr });
        }
        Err(source_error(answer, source, "fetch"))
    }

    pub(super) fn missing_branch(&self, branch: &BranchName) -> Error {
        Error::MissingBranch { repository: self.name().clone(), branch: branch.clone() }
    }

    /// Keeps a commit that a branch names: git lets a branch name only what is whole.
    fn keep_head(&self, branch: &BranchName, commit: &CommitId) -> Result<bool> {
        if self.is_kept(commit) {
            return Ok(true);
        }
        let places = ["refs/remotes/source", "refs/heads"];
        let is_tip = places.iter().any(|place| {
            self.read_reference(&format!("{place}/{branch}")).as_ref() == Some(commit)
        });
        if is_tip {
            self.write_reference(&keep_reference(commit), commit)?;
        }
        Ok(is_tip)
    }

    fn is_kept(&self, commit: &CommitId) -> bool {
        self.path().join(keep_reference(commit)).is_file()
    }

    /// An interrupted fetch may leave a commit without its files, so its presence alone says little.
    async fn is_whole(&self, commit: &CommitId) -> Result<bool> {
        let closure = self
            .call("check a commit")
            .arguments(["rev-list", "--quiet", "--objects"])
            .argument(commit.as_str())
            .arguments(["--not", "--all"])
            .deadline(FETCH)
            .answer();
        let (is_commit, closure) = tokio::try_join!(self.is_commit(commit), closure)?;
        Ok(is_commit && closure.status == 0)
    }

    async fn is_commit(&self, commit: &CommitId) -> Result<bool> {
        let answer = self
            .call("find a commit")
            .arguments(["cat-file", "-t", "--end-of-options", commit.as_str()])
            .answer()
            .await?;
        Ok(answer.status == 0 && answer.text() == "commit")
    }
}

/// What a source tells about itself.
pub(super) struct Survey {
    pub(super) default_branch: Option<BranchName>,
    pub(super) object_format: &'static str,
}

/// Asks the repository at `source` for its branches, without running anything in it but `upload-pack`.
pub(super) async fn survey(git: &Git, source: &Path) -> Result<Survey> {
    let answer = git
        .call("read the repository")
        .arguments(["ls-remote", "--quiet", "--symref", "--end-of-options"])
        .argument(source)
        .arguments(["HEAD", "refs/heads/*"])
        .max_output(ADVERTISEMENT)
        .answer()
        .await?;
    if answer.status != 0 {
        return Err(source_error(answer, source, "read the repository"));
    }
    let mut head = None;
    let mut branches = Vec::new();
    let mut object_format = "sha1";
    for line in String::from_utf8_lossy(&answer.stdout).lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: refs/heads/").filter(|_| name == "HEAD") {
            head = target.parse().ok();
        } else if let Some(branch) = name.strip_prefix("refs/heads/") {
            object_format = if value.len() == 64 { "sha256" } else { "sha1" };
            branches.extend(branch.parse::<BranchName>());
        }
    }
    if branches.is_empty() {
        return Err(Error::EmptyRepository { path: source.to_owned() });
    }
    let usual = |wanted: &str| branches.iter().find(|branch| branch.as_str() == wanted).cloned();
    let default_branch = head.or_else(|| usual("main")).or_else(|| usual("master"));
    Ok(Survey { default_branch, object_format })
}

/// The failure of a call that reads a repository outside our folder.
pub(super) fn source_error(answer: Answer, source: &Path, operation: &'static str) -> Error {
    let path: PathBuf = source.to_owned();
    if answer.says("dubious ownership") {
        return Error::OwnedByOther { path };
    }
    if answer.says("does not appear to be a git repository") || answer.says("not a git repository")
    {
        return Error::NotARepository { path };
    }
    answer.into_error(operation)
}

/// Whether a reference could not be written because another one's name is a part of its name.
pub(super) fn is_in_the_way(answer: &Answer) -> bool {
    answer.says("exists; cannot create") || answer.says("cannot process")
}

fn keep_reference(commit: &CommitId) -> String {
    format!("refs/sandgate/keep/{commit}")
}
