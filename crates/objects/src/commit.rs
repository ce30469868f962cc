//! What a commit says of itself.

use crate::ObjectId;

/// A commit, as far as it is needed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its files.
    pub tree: ObjectId,
    /// The commits that it follows, in its order.
    pub parents: Vec<ObjectId>,
    /// When it was committed, in seconds since 1970; none if it does not say so in a number.
    pub seconds: Option<i64>,
}

impl Commit {
    /// Reads a raw commit; none if it has no tree.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let mut lines = raw.split(|byte| *byte == b'\n');
        let tree = ObjectId::from_hex(lines.next()?.strip_prefix(b"tree ")?)?;
        let mut commit = Self { tree, parents: Vec::new(), seconds: None };
        for line in lines.take_while(|line| !line.is_empty()) {
            if let Some(parent) = line.strip_prefix(b"parent ") {
                commit.parents.push(ObjectId::from_hex(parent)?);
            } else if let Some(committer) = line.strip_prefix(b"committer ") {
                commit.seconds = seconds(committer);
                break;
            }
        }
        Some(commit)
    }

    /// About what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.parents.len() * size_of::<ObjectId>()
    }
}

/// The time behind `name <address>`.
fn seconds(committer: &[u8]) -> Option<i64> {
    let end = committer.iter().rposition(|byte| *byte == b'>')?;
    let behind = std::str::from_utf8(committer.get(end + 1..)?).ok()?;
    behind.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_merge_is_read() {
        let (tree, one, other) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let raw = format!(
            "tree {tree}\nparent {one}\nparent {other}\nauthor A <a> 1 +0000\n\
             committer B <b> > <x> 42 +0200\ngpgsig x\n\nparent {tree}\ncommitter C <c> 7 +0000\n"
        );
        let commit = Commit::parse(raw.as_bytes()).unwrap();
        assert_eq!(commit.tree.to_string(), tree);
        assert_eq!(commit.parents, [one.parse().unwrap(), other.parse().unwrap()]);
        assert_eq!(commit.seconds, Some(42));
    }

    #[test]
    fn what_is_no_commit_is_refused() {
        for raw in ["", "tree", "tree x\n", "parent 1\n", &format!("tree {}x\n", "a".repeat(40))] {
            assert_eq!(Commit::parse(raw.as_bytes()), None, "{raw}");
        }
        let raw = format!("tree {}\nparent x\n", "a".repeat(40));
        assert_eq!(Commit::parse(raw.as_bytes()), None);
        let raw = format!("tree {}\ncommitter nobody\n", "a".repeat(64));
        assert_eq!(Commit::parse(raw.as_bytes()).unwrap().seconds, None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Commit::parse(&tail);
            let mut raw = format!("tree {}\nparent {}\ncommitter ", "a".repeat(40), "b".repeat(40)).into_bytes();
            raw.extend(tail);
            prop_assert_eq!(Commit::parse(&raw).unwrap().parents.len(), 1);
        }
    }
}
