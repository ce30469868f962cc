//! Reading from a mirror: branches, ancestors, files, changed paths. Nothing here writes or runs a filter.

use sandgate_objects::Entry;

use super::git::lossy;
use super::mirror::Mirror;
use crate::error::{Error, Result};
use crate::names::{BranchName, CommitId};

const MAX_LISTING: usize = 64 << 20;
const MAX_CHANGES: usize = 8 << 20;

/// A branch and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name.
    pub name: BranchName,
    /// Its newest commit.
    pub commit: CommitId,
    /// Whether it was pushed here; else it is the source's.
    pub is_pushed: bool,
}

/// The paths that differ between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPaths {
    /// Relative to the top of the tree, in git's order; bytes that are no UTF-8 are replaced.
    pub paths: Vec<String>,
    /// False if there are more than fit into 8 MiB: then a filter must take every path for changed.
    pub is_complete: bool,
}

impl Mirror {
    /// All branches: those of the source, and those pushed here.
    pub async fn branches(&self) -> Result<Vec<Branch>> {
        self.read_branches(&["refs/remotes/source/", "refs/heads/"]).await
    }

    /// The newest commit of a branch of the source: what a pull request is merged into.
    pub async fn resolve(&self, branch: &BranchName) -> Result<CommitId> {
        self.resolve_first(branch, &["refs/remotes/source/"]).await
    }

    /// The newest commit of a branch that a pull request comes from: pushed here, else the source's.
    pub async fn resolve_head(&self, branch: &BranchName) -> Result<CommitId> {
        self.resolve_first(branch, &["refs/heads/", "refs/remotes/source/"]).await
    }

    /// The best common ancestor; `None` if the histories are unrelated.
    pub async fn merge_base(&self, one: &CommitId, other: &CommitId) -> Result<Option<CommitId>> {
        let answer = self
            .call("find the merge base")
            .arguments(["merge-base", "--end-of-options", one.as_str(), other.as_str()])
            .answer()
            .await?;
        match answer.status {
            0 => Ok(Some(answer.text().parse()?)),
            1 => Ok(None),
            _ if answer.says(other.as_str()) => {
                Err(self.failure_at(other, "find the merge base", answer))
            }
            _ => Err(self.failure_at(one, "find the merge base", answer)),
        }
    }

    /// The content of a file at a commit, at most `limit` bytes of it. Symbolic links are not followed.
    pub async fn read_file(&self, commit: &CommitId, path: &str, limit: u64) -> Result<Vec<u8>> {
        let missing = || Error::MissingPath { commit: commit.clone(), path: path.to_owned() };
        if !is_plain_path(path) {
            return Err(missing());
        }
        let (commit, path) = (commit.clone(), path.to_owned());
        let content = self.with_objects(move |mirror, objects| {
            let missing = || Error::MissingPath { commit: commit.clone(), path: path.clone() };
            let mut folder = mirror.read_commit(objects, &commit)?.tree;
            let (folders, name) = path.rsplit_once('/').unwrap_or(("", &path));
            for part in folders.split('/').filter(|part| !part.is_empty()) {
                let tree = objects.tree(folder)?;
                let entry = tree.find(part.as_bytes()).filter(Entry::is_folder);
                folder = entry.ok_or_else(missing)?.id;
            }
            let tree = objects.tree(folder)?;
            let entry = tree.find(name.as_bytes()).ok_or_else(missing)?;
            if let Some(found) = other_kind(&entry) {
                return Err(Error::NotAFile { commit: commit.clone(), path: path.clone(), found });
            }
            match objects.blob(entry.id, limit) {
                Ok(content) => Ok(content.to_vec()),
                Err(sandgate_objects::Error::TooLarge { bytes, limit, .. }) => {
                    Err(Error::FileTooLarge {
                        commit: commit.clone(),
                        path: path.clone(),
                        bytes,
                        limit,
                    })
                }
                Err(error) => Err(error.into()),
            }
        });
        content.await
    }

    /// What `head` changes since it left `base`: the paths of the pull request.
    pub async fn changed_paths(&self, base: &CommitId, head: &CommitId) -> Result<ChangedPaths> {
        let ancestor = self
            .merge_base(base, head)
            .await?
            .ok_or_else(|| Error::Unrelated { base: base.clone(), head: head.clone() })?;
        let answer = self
            .call("compare two commits")
            .arguments(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff"])
            .arguments(["--no-textconv", "--ignore-submodules=none", "--end-of-options"])
            .arguments([ancestor.as_str(), head.as_str()])
            .max_output(MAX_CHANGES)
            .answer()
            .await?;
        if answer.is_complete && answer.status != 0 {
            return Err(self.failure_at(head, "compare two commits", answer));
        }
        let mut paths: Vec<String> = answer.stdout.split(|byte| *byte == 0).map(lossy).collect();
        // Behind the last NUL there is nothing, or the beginning of a path that was cut.
        paths.pop();
        Ok(ChangedPaths { paths, is_complete: answer.is_complete })
    }

    async fn resolve_first(&self, branch: &BranchName, places: &[&str]) -> Result<CommitId> {
        let references: Vec<String> =
            places.iter().map(|place| format!("{place}{branch}")).collect();
        let patterns: Vec<&str> = references.iter().map(String::as_str).collect();
        let found = self.read_branches(&patterns).await?;
        let is_first = |is_pushed: bool| {
            found.iter().find(|found| found.name == *branch && found.is_pushed == is_pushed)
        };
        let is_pushed_first = places.first() == Some(&"refs/heads/");
        let hit = is_first(is_pushed_first).or_else(|| is_first(false));
        hit.map(|found| found.commit.clone()).ok_or_else(|| self.missing_branch(branch))
    }

    pub(super) async fn read_branches(&self, patterns: &[&str]) -> Result<Vec<Branch>> {
        let answer = self
            .call("list the branches")
            .arguments(["for-each-ref", "--format=%(objectname) %(refname)", "--end-of-options"])
            .arguments(patterns)
            .max_output(MAX_LISTING)
            .run()
            .await?;
        let text = String::from_utf8_lossy(&answer.stdout);
        Ok(text.lines().filter_map(parse_branch).collect())
    }
}

fn parse_branch(line: &str) -> Option<Branch> {
    let (commit, reference) = line.split_once(' ')?;
    let pushed = reference.strip_prefix("refs/heads/");
    let name = pushed.or_else(|| reference.strip_prefix("refs/remotes/source/"))?;
    Some(Branch {
        name: name.parse().ok()?,
        commit: commit.parse().ok()?,
        is_pushed: pushed.is_some(),
    })
}

/// What an entry is, if it is no file.
fn other_kind(entry: &Entry<'_>) -> Option<&'static str> {
    match entry.canonical_mode() {
        0o120_000 => Some("symbolic link"),
        0o040_000 => Some("folder"),
        0o160_000 => Some("submodule"),
        _ => None,
    }
}

/// Paths are looked up part by part: empty ones and dots stand for nothing that a tree of ours holds.
fn is_plain_path(path: &str) -> bool {
    !path.contains('\0')
        && path.len() <= 4096
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
