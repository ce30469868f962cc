//! Merging without a checkout: what a pull request would be after its merge.
//!
//! The merge commit is a function of its two parents: fixed author, the later of the two commit times, fixed text. Two
//! servers, or one server twice, make the same commit id, and every cache behind it hits. Attributes of the
//! repository (`merge=union` and the like) are left out, as forges leave them out.

use super::git::lossy;
use super::mirror::Mirror;
use crate::error::{Error, Result};
use crate::names::CommitId;

const AUTHOR: &str = "Sandgate";
const ADDRESS: &str = "merge@sandgate.invalid";
/// The year 2100; beyond it git refuses some dates.
const LATEST: i64 = 4_102_444_800;
const MAX_COMMITS: usize = 4 << 20;
const MAX_MERGE: usize = 8 << 20;
const SHOWN_CONFLICTS: usize = 100;

impl Mirror {
    /// The commit that merges `head` into `base`; made once, then found again.
    pub async fn merge_commit(&self, base: &CommitId, head: &CommitId) -> Result<CommitId> {
        let reference = format!("refs/sandgate/merge/{base}/{head}");
        if let Some(known) = self.read_reference(&reference) {
            return Ok(known);
        }
        let _writing = self.lock().await;
        let (time, tree) =
            tokio::join!(self.later_commit_time(base, head), self.merge_tree(base, head));
        // A missing commit is named by the first; the second only fails.
        let (seconds, tree) = (time?, tree?);
        let commit = self.commit_tree(&tree, base, head, seconds).await?;
        self.write_reference(&reference, &commit)?;
        Ok(commit)
    }

    async fn later_commit_time(&self, base: &CommitId, head: &CommitId) -> Result<i64> {
        let answer = self
            .call("read two commits")
            .arguments(["cat-file", "--batch"])
            .input(format!("{base}\n{head}\n").into_bytes())
            .max_output(MAX_COMMITS)
            .run()
            .await?;
        let mut rest = answer.stdout.as_slice();
        let mut latest = 0;
        for commit in [base, head] {
            let Some((content, behind)) = parse_batch(rest) else {
                return Err(self.missing(commit));
            };
            latest = latest.max(commit_time(content).unwrap_or(0));
            rest = behind;
        }
        Ok(latest.clamp(0, LATEST))
    }

    async fn merge_tree(&self, base: &CommitId, head: &CommitId) -> Result<String> {
        let answer = self
            .call("merge two commits")
            .arguments(["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"])
            .arguments(["--end-of-options", base.as_str(), head.as_str()])
            .max_output(MAX_MERGE)
            .answer()
            .await?;
        let mut parts = answer.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        match answer.status {
            0 => parts
                .next()
                .map(lossy)
                .ok_or(Error::UnexpectedOutput { operation: "merge two commits" }),
            1 => Err(Error::Conflict {
                base: base.clone(),
                head: head.clone(),
                paths: parts.skip(1).take(SHOWN_CONFLICTS).map(lossy).collect(),
            }),
            _ if answer.says("unrelated histories") => {
                Err(Error::Unrelated { base: base.clone(), head: head.clone() })
            }
            _ => Err(answer.into_error("merge two commits")),
        }
    }

    async fn commit_tree(
        &self,
        tree: &str,
        base: &CommitId,
        head: &CommitId,
        seconds: i64,
    ) -> Result<CommitId> {
        let date = format!("@{seconds} +0000");
        let answer = self
            .call("write a merge commit")
            .environment("GIT_AUTHOR_NAME", AUTHOR.to_owned())
            .environment("GIT_AUTHOR_EMAIL", ADDRESS.to_owned())
            .environment("GIT_AUTHOR_DATE", date.clone())
            .environment("GIT_COMMITTER_NAME", AUTHOR.to_owned())
            .environment("GIT_COMMITTER_EMAIL", ADDRESS.to_owned())
            .environment("GIT_COMMITTER_DATE", date)
            .arguments(["commit-tree", "-p", base.as_str(), "-p", head.as_str()])
            .argument(tree)
            .input(format!("Merge {head} into {base}\n").into_bytes())
            .run()
            .await?;
        Ok(answer.text().parse()?)
    }
}

/// Reads `<object> commit <size>\n<content>\n` off the front; `None` for anything that is no commit.
fn parse_batch(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut words = header.split(' ').skip(1);
    if words.next()? != "commit" {
        return None;
    }
    let size: usize = words.next()?.parse().ok()?;
    let start = end + 1;
    let stop = start.checked_add(size)?;
    Some((bytes.get(start..stop)?, bytes.get(stop + 1..)?))
}

/// The committer's time of a raw commit, in seconds since 1970.
fn commit_time(content: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(content);
    let line = text.lines().find(|line| line.starts_with("committer "))?;
    let behind = line.rsplit_once('>')?.1;
    behind.split_ascii_whitespace().next()?.parse().ok()
}
