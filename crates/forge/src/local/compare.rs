//! What differs between two trees, found by reading only the folders that differ.
//!
//! Trees that git would not write so (out of order, a name twice, odd modes, none at all where one is named) are not
//! compared here: whoever asks lets git do it.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use sandgate_objects::{Entry, ObjectId, Objects, Tree};

/// The most folders that are read.
const MAX_FOLDERS: usize = 4000;
/// The most folders below each other.
const MAX_DEPTH: usize = 200;

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Removed,
    /// There in both, as another file, or with another mode.
    Modified,
}

/// Why a comparison ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is a case for git.
    Unusual,
    /// Whoever is told of the paths has heard enough.
    Enough,
    Failed(sandgate_objects::Error),
}

impl From<sandgate_objects::Error> for Stop {
    fn from(error: sandgate_objects::Error) -> Self {
        match error {
            // Git says better what is wrong with them.
            sandgate_objects::Error::Malformed { .. }
            | sandgate_objects::Error::OtherKind { .. }
            | sandgate_objects::Error::TooLarge { .. }
            | sandgate_objects::Error::Missing { .. } => Self::Unusual,
            sandgate_objects::Error::Io { .. }
            | sandgate_objects::Error::Ended { .. }
            | sandgate_objects::Error::Deadline { .. }
            | sandgate_objects::Error::Answer { .. } => Self::Failed(error),
        }
    }
}

/// Takes each path that differs, in git's order.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Change, &[u8]) -> ControlFlow<()>;

/// Compares two trees.
pub(super) fn compare(
    objects: &Objects,
    before: ObjectId,
    after: ObjectId,
    tell: Tell<'_>,
) -> Result<(), Stop> {
    if before == after {
        return Ok(());
    }
    let mut comparison = Comparison { objects, folders: 0, tell };
    comparison.folder(Some(before), Some(after), &mut Vec::new(), 0)
}

struct Comparison<'a> {
    objects: &'a Objects,
    folders: usize,
    tell: Tell<'a>,
}

impl Comparison<'_> {
    fn folder(
        &mut self,
        before: Option<ObjectId>,
        after: Option<ObjectId>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Stop> {
        let ids: Vec<ObjectId> = before.into_iter().chain(after).collect();
        self.folders += ids.len();
        if self.folders > MAX_FOLDERS || depth > MAX_DEPTH {
            return Err(Stop::Unusual);
        }
        let trees = self.objects.trees(&ids)?;
        if !trees.iter().all(Tree::is_canonical) {
            return Err(Stop::Unusual);
        }
        let mut trees = trees.iter();
        let (one, other) =
            (entries(before.and_then(|_| trees.next())), after.and_then(|_| trees.next()));
        let (mut one, mut other) =
            (one.into_iter().peekable(), entries(other).into_iter().peekable());
        loop {
            let order = match (one.peek(), other.peek()) {
                (None, None) => return Ok(()),
                (Some(old), Some(new)) => old.0.cmp(&new.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let old = one.next_if(|_| order.is_le()).map(|(_, entry)| entry);
            let new = other.next_if(|_| order.is_ge()).map(|(_, entry)| entry);
            self.entry(old, new, path, depth)?;
        }
    }

    fn entry(
        &mut self,
        old: Option<Entry<'_>>,
        new: Option<Entry<'_>>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Stop> {
        let Some(either) = old.or(new) else { return Ok(()) };
        if old == new {
            return Ok(());
        }
        let length = path.len();
        path.extend_from_slice(either.name);
        let result = if either.is_folder() {
            path.push(b'/');
            self.folder(old.map(|old| old.id), new.map(|new| new.id), path, depth + 1)
        } else {
            let change = match (old, new) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                (Some(_), Some(_)) => Change::Modified,
            };
            if (self.tell)(change, path).is_break() { Err(Stop::Enough) } else { Ok(()) }
        };
        path.truncate(length);
        result
    }
}

/// Entries and what they are ordered by, which tells folders and files of the same name apart.
fn entries(tree: Option<&Tree>) -> Vec<(Vec<u8>, Entry<'_>)> {
    tree.into_iter().flat_map(Tree::entries).map(keyed).collect()
}

fn keyed(entry: Entry<'_>) -> (Vec<u8>, Entry<'_>) {
    let mut key = entry.name.to_vec();
    if entry.is_folder() {
        key.push(b'/');
    }
    (key, entry)
}
