//! Which commits a sandbox gets: everything within a bounded distance of its tips.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::git::LONG_ANSWER;
use super::repository::{Repository, has_file};
use super::sha::Sha;
use crate::Error;

/// How many commits deep the history of a sandbox goes.
pub const HISTORY_DEPTH: usize = 50;
/// The most commits of it.
const MAX_COMMITS: usize = 2000;
/// The most tags that are looked at.
const MAX_TAGS: usize = 50_000;

/// The part of a history that a sandbox gets.
pub(super) struct History {
    /// The commits whose parents are left out.
    pub cut: BTreeSet<Sha>,
    /// Tags of the commits.
    pub tags: Vec<Tag>,
}

/// A tag.
pub(super) struct Tag {
    /// The name, with `refs/tags/`.
    pub name: String,
    /// The commit, or the object of an annotated tag.
    pub sha: Sha,
    /// The commit of an annotated tag.
    pub peeled: Option<Sha>,
}

impl Repository {
    /// The history that ends at `tips`.
    pub(super) fn history(&self, tips: &[&Sha]) -> Result<History, Error> {
        let shallow: HashSet<Sha> = self.shallow_commits()?.into_iter().collect();
        let parents = self.parents(tips, &shallow)?;
        let (commits, mut cut) = select(tips, &parents);
        // Where the repository's own history is cut off, ours is too.
        cut.extend(shallow.into_iter().filter(|sha| commits.contains(sha)));
        let tags = self.tags(&commits)?;
        Ok(History { cut, tags })
    }

    /// The parents of the commits that may be within the bound. Those at which the repository's own history is cut off
    /// have none.
    fn parents(
        &self,
        tips: &[&Sha],
        shallow: &HashSet<Sha>,
    ) -> Result<HashMap<Sha, Vec<Sha>>, Error> {
        let mut parents: HashMap<Sha, Vec<Sha>> = HashMap::new();
        let mut level: Vec<Sha> = tips.iter().copied().cloned().collect();
        for _ in 0..HISTORY_DEPTH {
            level.sort_unstable();
            level.dedup();
            level.retain(|sha| !parents.contains_key(sha));
            level.truncate(MAX_COMMITS.saturating_sub(parents.len()));
            let ids = level.iter().map(Sha::id).collect::<Result<Vec<_>, _>>()?;
            let mut next = Vec::new();
            for (sha, commit) in level.into_iter().zip(self.objects().commits(&ids)?) {
                let commit = commit.ok_or(sandgate_objects::Error::Missing { id: sha.id()? })?;
                let is_cut = shallow.contains(&sha);
                let above = commit.parents.iter().filter(|_| !is_cut).map(|id| Sha::from(*id));
                let above: Vec<Sha> = above.collect();
                next.extend(above.iter().cloned());
                parents.insert(sha, above);
            }
            level = next;
        }
        Ok(parents)
    }

    fn tags(&self, commits: &HashSet<Sha>) -> Result<Vec<Tag>, Error> {
        if !self.may_have_tags() {
            return Ok(Vec::new());
        }
        let count = format!("--count={MAX_TAGS}");
        let listing = self
            .git("for-each-ref")
            .args([&count, "--format=%(objectname) %(*objectname) %(refname)", "refs/tags"])
            .read(&[], LONG_ANSWER)?;
        let mut tags = Vec::new();
        // Names that are no UTF-8 are left out: they could not be written as they are.
        for line in
            listing.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
        {
            let mut fields = line.splitn(3, ' ');
            let (Some(sha), Some(peeled), Some(name)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let tag = Tag { name: name.to_owned(), sha: sha.parse()?, peeled: peeled.parse().ok() };
            if commits.contains(tag.peeled.as_ref().unwrap_or(&tag.sha)) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }
}

impl Repository {
    /// False only if there are none: mirrors have none, and are asked on the way to every gate.
    fn may_have_tags(&self) -> bool {
        let folder = self.common_dir();
        ["packed-refs", "reftable"].iter().any(|name| folder.join(name).exists())
            || has_file(&folder.join("refs/tags"))
    }
}

/// The commits within the bound, and those of them with a parent outside.
fn select(tips: &[&Sha], parents: &HashMap<Sha, Vec<Sha>>) -> (HashSet<Sha>, BTreeSet<Sha>) {
    let mut depths: HashMap<&Sha, usize> = tips.iter().map(|tip| (*tip, 1)).collect();
    let mut queue: VecDeque<&Sha> = tips.iter().copied().collect();
    let mut cut = BTreeSet::new();
    while let Some(commit) = queue.pop_front() {
        let depth = depths.get(commit).copied().unwrap_or(HISTORY_DEPTH);
        let known = parents.get(commit).map_or(&[][..], Vec::as_slice);
        let within =
            depth < HISTORY_DEPTH && known.iter().all(|parent| parents.contains_key(parent));
        if !within && !known.is_empty() {
            cut.insert(commit.clone());
            continue;
        }
        for parent in known {
            depths.entry(parent).or_insert_with(|| {
                queue.push_back(parent);
                depth + 1
            });
        }
    }
    (depths.into_keys().cloned().collect(), cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(number: usize) -> Sha {
        format!("{number:040x}").parse().unwrap()
    }

    #[test]
    fn a_line_is_cut_at_the_depth() {
        let parents: HashMap<_, _> = (0..200).map(|n| (sha(n), vec![sha(n + 1)])).collect();
        let (commits, cut) = select(&[&sha(0)], &parents);
        assert_eq!(commits.len(), HISTORY_DEPTH);
        assert_eq!(cut, BTreeSet::from([sha(HISTORY_DEPTH - 1)]));
    }

    #[test]
    fn a_merge_of_an_old_branch_keeps_both_sides() {
        let parents = HashMap::from([
            (sha(0), vec![sha(1), sha(9)]),
            (sha(1), vec![sha(2)]),
            (sha(2), vec![]),
            (sha(9), vec![]),
        ]);
        let (commits, cut) = select(&[&sha(0)], &parents);
        assert_eq!((commits.len(), cut.len()), (4, 0));
    }

    #[test]
    fn a_commit_with_an_unlisted_parent_is_cut() {
        let parents = HashMap::from([(sha(0), vec![sha(1), sha(5)]), (sha(1), vec![])]);
        let (commits, cut) = select(&[&sha(0)], &parents);
        assert_eq!((commits, cut), (HashSet::from([sha(0)]), BTreeSet::from([sha(0)])));
    }
}
