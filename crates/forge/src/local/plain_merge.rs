//! Merges that need no judgement, made without a process: every path was changed on one side only.
//!
//! The result is the tree that git makes, to the byte, or none. It is none where git would compare contents, find renames
//! (a side that both removes and adds files), meet several merge bases, or tidy up trees that it would not write so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::ControlFlow;

use sandgate_objects::{Entry, Kind, ObjectId, Objects};

use super::compare::{Change, Stop, compare};

/// The most commits that are looked at for a merge base.
const MAX_COMMITS: usize = 1000;
/// The most folders below each other.
const MAX_DEPTH: usize = 200;

/// Writes a tree.
pub(super) type Write<'a> = &'a dyn Fn(Kind, &[u8]) -> Result<ObjectId, sandgate_objects::Error>;

/// The tree of `head` merged into `base`; none if it takes git to make it.
pub(super) fn merge(
    objects: &Objects,
    write: Write<'_>,
    base: ObjectId,
    head: ObjectId,
) -> Result<Option<ObjectId>, sandgate_objects::Error> {
    let merged = merge_base(objects, base, head).and_then(|ancestor| {
        let tree = |commit| Ok::<_, Stop>(objects.commit(commit)?.tree);
        let trees = Trees { ancestor: tree(ancestor)?, base: tree(base)?, head: tree(head)? };
        merge_trees(objects, write, trees)
    });
    match merged {
        Ok(tree) => Ok(Some(tree)),
        Err(Stop::Unusual | Stop::Enough) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Flags of [`merge_base`]: from which side a commit was reached, and that it lies below a common ancestor.
const BASE: u8 = 1;
const HEAD: u8 = 2;
const BOTH: u8 = BASE | HEAD;
const BELOW: u8 = 4;

/// The one best common ancestor. The way of git without a commit graph: the youngest commit first, until all that is left
/// lies below a common ancestor.
pub(super) fn merge_base(
    objects: &Objects,
    base: ObjectId,
    head: ObjectId,
) -> Result<ObjectId, Stop> {
    let mut flags = HashMap::from([(base, BASE)]);
    *flags.entry(head).or_default() |= HEAD;
    if base == head {
        return Ok(base);
    }
    let mut queue = Queue { heap: BinaryHeap::new(), pushed: 0 };
    queue.push(objects, base)?;
    queue.push(objects, head)?;
    let mut common = Vec::new();
    while queue.heap.iter().any(|(_, _, commit)| flags.get(commit).is_some_and(|f| f & BELOW == 0))
    {
        if queue.pushed > MAX_COMMITS {
            return Err(Stop::Unusual);
        }
        let Some((_, _, commit)) = queue.heap.pop() else { break };
        let mut reached = flags.get(&commit).copied().unwrap_or_default();
        if reached == BOTH {
            if !common.contains(&commit) {
                common.push(commit);
            }
            reached |= BELOW;
        }
        for parent in &objects.commit(commit)?.parents {
            let known = flags.entry(*parent).or_default();
            if *known & reached != reached {
                *known |= reached;
                queue.push(objects, *parent)?;
            }
        }
    }
    common.retain(|commit| flags.get(commit).is_some_and(|flags| flags & BELOW == 0));
    match common[..] {
        [only] => Ok(only),
        _ => Err(Stop::Unusual),
    }
}

/// The youngest first; of the same age the first to come.
struct Queue {
    heap: BinaryHeap<(i64, Reverse<usize>, ObjectId)>,
    pushed: usize,
}

impl Queue {
    fn push(&mut self, objects: &Objects, commit: ObjectId) -> Result<(), Stop> {
        let seconds = objects.commit(commit)?.seconds.unwrap_or(0).max(0);
        self.heap.push((seconds, Reverse(self.pushed), commit));
        self.pushed += 1;
        Ok(())
    }
}

struct Trees {
    ancestor: ObjectId,
    base: ObjectId,
    head: ObjectId,
}

fn merge_trees(objects: &Objects, write: Write<'_>, trees: Trees) -> Result<ObjectId, Stop> {
    let may_rename_base = may_rename(objects, trees.ancestor, trees.base)?;
    let may_rename_head = may_rename(objects, trees.ancestor, trees.head)?;
    if trees.base == trees.ancestor {
        return Ok(trees.head);
    }
    if trees.head == trees.ancestor {
        return Ok(trees.base);
    }
    if may_rename_base || may_rename_head {
        return Err(Stop::Unusual);
    }
    let merged = folder(objects, write, Some(trees.ancestor), trees.base, trees.head, 0)?;
    merged.ok_or(Stop::Unusual)
}

/// Whether one side's changes hold what git could take for a rename.
fn may_rename(objects: &Objects, before: ObjectId, after: ObjectId) -> Result<bool, Stop> {
    let (mut adds, mut removes) = (false, false);
    compare(objects, before, after, &mut |change, _| {
        adds |= change == Change::Added;
        removes |= change == Change::Removed;
        ControlFlow::Continue(())
    })?;
    Ok(adds && removes)
}

/// Mode and contents.
type Side = Option<(u32, ObjectId)>;

/// One name in the three trees.
#[derive(Default, Clone, Copy)]
struct Sides {
    ancestor: Side,
    base: Side,
    head: Side,
}

/// Merges a folder that both sides changed; none if nothing is left in it.
fn folder(
    objects: &Objects,
    write: Write<'_>,
    ancestor: Option<ObjectId>,
    base: ObjectId,
    head: ObjectId,
    depth: usize,
) -> Result<Option<ObjectId>, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Unusual);
    }
    let mut names: BTreeMap<Vec<u8>, Sides> = BTreeMap::new();
    let places: [fn(&mut Sides) -> &mut Side; 3] =
        [|sides| &mut sides.base, |sides| &mut sides.head, |sides| &mut sides.ancestor];
    let ids: Vec<ObjectId> = [base, head].into_iter().chain(ancestor).collect();
    for (tree, place) in objects.trees(&ids)?.iter().zip(places) {
        for Entry { name, mode, id, .. } in tree.entries() {
            *place(names.entry(name.to_vec()).or_default()) = Some((mode, id));
        }
    }
    let mut merged = Vec::with_capacity(names.len());
    for (name, sides) in names {
        if let Some((mode, id)) = entry(objects, write, sides, depth)? {
            merged.push((name, mode, id));
        }
    }
    if merged.is_empty() {
        return Ok(None);
    }
    Ok(Some(write(Kind::Tree, &encode(merged))?))
}

fn entry(objects: &Objects, write: Write<'_>, sides: Sides, depth: usize) -> Result<Side, Stop> {
    let Sides { ancestor, base, head } = sides;
    if base == head || ancestor == head {
        return Ok(base);
    }
    if ancestor == base {
        return Ok(head);
    }
    let is_folder = |side: (u32, ObjectId)| side.0 == FOLDER;
    match (base, head) {
        (Some(base), Some(head))
            if is_folder(base) && is_folder(head) && ancestor.is_none_or(is_folder) =>
        {
            let ancestor = ancestor.map(|(_, id)| id);
            let id = folder(objects, write, ancestor, base.1, head.1, depth + 1)?;
            Ok(id.map(|id| (FOLDER, id)))
        }
        (Some(_) | None, Some(_) | None) => Err(Stop::Unusual),
    }
}

const FOLDER: u32 = 0o40_000;

/// The tree with these entries, as git writes it.
fn encode(mut entries: Vec<(Vec<u8>, u32, ObjectId)>) -> Vec<u8> {
    entries.sort_by_cached_key(|(name, mode, _)| {
        let mut key = name.clone();
        if *mode == FOLDER {
            key.push(b'/');
        }
        key
    });
    let mut raw = Vec::new();
    for (name, mode, id) in entries {
        raw.extend_from_slice(format!("{mode:o} ").as_bytes());
        raw.extend_from_slice(&name);
        raw.push(0);
        raw.extend_from_slice(id.as_bytes());
    }
    raw
}
