//! Merging without a checkout: what a pull request would be after its merge.
//!
//! The merge commit is a function of its two parents: fixed author, the later of the two commit times, fixed text. Two
//! servers, or one server twice, make the same commit id, and every cache behind it hits. Attributes of the
//! repository (`merge=union` and the like) are left out, as forges leave them out.

use sandgate_objects::{Kind, ObjectId, Objects, write_loose};

use super::git::lossy;
use super::mirror::Mirror;
use super::plain_merge;
use crate::error::{Error, Result};
use crate::names::CommitId;

const AUTHOR: &str = "Sandgate";
const ADDRESS: &str = "merge@sandgate.invalid";
/// The year 2100; beyond it git refuses some dates.
const LATEST: i64 = 4_102_444_800;
const MAX_MERGE: usize = 8 << 20;
const SHOWN_CONFLICTS: usize = 100;

impl Mirror {
    /// The commit that merges `head` into `base`; made once, then found again.
    pub async fn merge_commit(&self, base: &CommitId, head: &CommitId) -> Result<CommitId> {
        let (one, other) = (base.clone(), head.clone());
        let known =
            self.with_objects(move |mirror, objects| mirror.known_merge(objects, &one, &other));
        if let Some(known) = known.await? {
            return Ok(known);
        }
        let writing = self.lock().await;
        let (one, other) = (base.clone(), head.clone());
        let plain = self.with_objects(move |mirror, objects| {
            let seconds = mirror.later_commit_time(objects, &one, &other)?;
            let write = |kind, raw: &[u8]| mirror.write_object(one.id()?, kind, raw);
            let tree = plain_merge::merge(objects, &write, one.id()?, other.id()?)?;
            Ok((seconds, tree))
        });
        let (seconds, tree) = plain.await?;
        let tree = match tree {
            Some(tree) => tree,
            None => self.merge_tree(base, head).await?,
        };
        let (one, other) = (base.clone(), head.clone());
        self.with_objects(move |mirror, _| {
            // Who made it holds on until it is written, even when the asker has gone.
            let _writing = writing;
            let text = commit_text(tree, &one, &other, seconds);
            let commit = mirror.write_object(one.id()?, Kind::Commit, text.as_bytes())?;
            let commit: CommitId = commit.to_string().parse()?;
            mirror.write_reference(&merge_reference(&one, &other), &commit)?;
            Ok(commit)
        })
        .await
    }

    /// A merge that was made before. What its reference names may be gone: neither waits for the disk.
    fn known_merge(
        &self,
        objects: &Objects,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Option<CommitId>> {
        let Some(known) = self.read_reference(&merge_reference(base, head)) else {
            return Ok(None);
        };
        let is_whole = objects
            .commits(&[known.id()?])?
            .pop()
            .flatten()
            .is_some_and(|commit| objects.trees(&[commit.tree]).is_ok());
        Ok(is_whole.then_some(known))
    }

    fn later_commit_time(
        &self,
        objects: &Objects,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<i64> {
        let mut latest = 0;
        for commit in [base, head] {
            latest = latest.max(self.read_commit(objects, commit)?.seconds.unwrap_or(0));
        }
        Ok(latest.clamp(0, LATEST))
    }

    /// Writes an object of the same format as `like`.
    fn write_object(
        &self,
        like: ObjectId,
        kind: Kind,
        raw: &[u8],
    ) -> std::result::Result<ObjectId, sandgate_objects::Error> {
        write_loose(&self.path().join("objects"), like.format(), kind, raw)
    }

    async fn merge_tree(&self, base: &CommitId, head: &CommitId) -> Result<ObjectId> {
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
                .and_then(ObjectId::from_hex)
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
}

fn merge_reference(base: &CommitId, head: &CommitId) -> String {
    format!("refs/sandgate/merge/{base}/{head}")
}

fn commit_text(tree: ObjectId, base: &CommitId, head: &CommitId, seconds: i64) -> String {
    let person = format!("{AUTHOR} <{ADDRESS}> {seconds} +0000");
    format!(
        "tree {tree}\nparent {base}\nparent {head}\nauthor {person}\ncommitter {person}\n\n\
         Merge {head} into {base}\n"
    )
}
