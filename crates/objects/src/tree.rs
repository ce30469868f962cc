//! A folder, as git stores it.

use std::sync::Arc;

use crate::ObjectId;

/// The longest mode, in digits: `0160000` with a zero that old programs wrote.
const MAX_MODE_DIGITS: usize = 7;

/// The entries of one folder. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    raw: Arc<[u8]>,
    /// The length of a name of an object, in bytes.
    width: usize,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The mode as it is written; see [`Entry::is_folder`] and its like for what git makes of it.
    pub mode: u32,
    /// The name: not empty and without NUL, and else anything, `..` and slashes too.
    pub name: &'a [u8],
    /// The contents.
    pub id: ObjectId,
    /// Whether the mode begins with a zero, as git does not write it.
    pub is_padded: bool,
}

impl Entry<'_> {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether it is a symlink.
    pub fn is_symlink(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// The mode that git takes it for: whatever is no file, symlink or folder counts as a submodule.
    pub fn canonical_mode(&self) -> u32 {
        match self.mode & 0o170_000 {
            0o040_000 => 0o040_000,
            0o120_000 => 0o120_000,
            0o100_000 if self.mode & 0o100 != 0 => 0o100_755,
            0o100_000 => 0o100_644,
            _ => 0o160_000,
        }
    }
}

impl Tree {
    /// Reads a raw tree whose objects have names of `width` bytes; none if it is not one.
    pub(crate) fn parse(raw: &[u8], width: usize) -> Option<Self> {
        let mut rest = raw;
        while !rest.is_empty() {
            rest = next_entry(rest, width)?.1;
        }
        Some(Self { raw: raw.into(), width })
    }

    /// Its entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &*self.raw;
        std::iter::from_fn(move || {
            // That all of it can be read was found out when it was parsed.
            let (entry, behind) = next_entry(rest, self.width)?;
            rest = behind;
            Some(entry)
        })
    }

    /// The first entry with this name.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.name == name)
    }

    /// Whether it is as git writes it: in order, no name twice, no mode of its own. Never true for one without entries.
    pub fn is_canonical(&self) -> bool {
        let mut before: Option<Entry<'_>> = None;
        for entry in self.entries() {
            let is_plain = !entry.is_padded
                && entry.mode == entry.canonical_mode()
                && !entry.name.contains(&b'/');
            if !is_plain || before.is_some_and(|before| !is_before(&before, &entry)) {
                return false;
            }
            before = Some(entry);
        }
        before.is_some()
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.raw.len() + size_of::<Self>()
    }
}

/// The order of git: folders are compared as if a slash stood behind their name.
fn is_before(one: &Entry<'_>, other: &Entry<'_>) -> bool {
    let key = |entry: &Entry<'_>| {
        let slash = entry.is_folder().then_some(b'/');
        entry.name.iter().copied().chain(slash).collect::<Vec<u8>>()
    };
    one.name != other.name && key(one) < key(other)
}

/// `<mode in octal> <name>\0<id>`, and what is behind it.
fn next_entry(raw: &[u8], width: usize) -> Option<(Entry<'_>, &[u8])> {
    let space = raw.iter().take(MAX_MODE_DIGITS + 1).position(|byte| *byte == b' ')?;
    let digits = raw.get(..space)?;
    let is_octal = |byte: &u8| matches!(byte, b'0'..=b'7');
    if digits.is_empty() || !digits.iter().all(is_octal) {
        return None;
    }
    let mode = digits.iter().fold(0, |mode, byte| mode * 8 + u32::from(byte - b'0'));
    let behind = raw.get(space + 1..)?;
    let end = behind.iter().position(|byte| *byte == 0).filter(|end| *end > 0)?;
    let name = behind.get(..end)?;
    let id = ObjectId::from_bytes(behind.get(end + 1..end + 1 + width)?)?;
    let entry = Entry { mode, name, id, is_padded: digits.first() == Some(&b'0') };
    Some((entry, behind.get(end + 1 + width..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut raw = Vec::new();
        for (mode, name) in entries {
            raw.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            raw.extend_from_slice(&[7; 20]);
        }
        raw
    }

    fn tree(entries: &[(&str, &str)]) -> Option<Tree> {
        Tree::parse(&raw(entries), 20)
    }

    #[test]
    fn entries_are_read_as_they_are() {
        let tree = tree(&[("100644", "a b"), ("40000", ".."), ("0120000", "x/y"), ("1", "z")]);
        let tree = tree.unwrap();
        let modes: Vec<u32> = tree.entries().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o100_644, 0o40_000, 0o120_000, 1]);
        assert_eq!(tree.find(b"z").unwrap().canonical_mode(), 0o160_000);
        assert!(tree.find(b"x/y").unwrap().is_padded && tree.find(b"nothing").is_none());
        assert!(!tree.is_canonical());
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for bad in [&b"100644 a"[..], b"100644 a\0short", b" a\0", b"100648 a\0", b"12345678 a\0"] {
            let mut bad = bad.to_vec();
            assert!(bad.len() < 16 && Tree::parse(&bad, 20).is_none());
            if bad[0] != b'1' || bad[5] == b'8' || bad[7] == b'8' {
                bad.extend([7; 20]);
                assert!(Tree::parse(&bad, 20).is_none());
            }
        }
        assert!(tree(&[("100644", "")]).is_none());
        assert!(Tree::parse(&raw(&[("100644", "a")]), 32).is_none());
    }

    #[test]
    fn what_git_writes_is_canonical_and_nothing_else() {
        let plain = [("100644", "a-b"), ("40000", "a"), ("100755", "a0"), ("160000", "b")];
        assert!(tree(&plain).unwrap().is_canonical());
        for bad in [
            &[][..],
            &[("100664", "a")],
            &[("040000", "a")],
            &[("100644", "b"), ("100644", "a")],
            &[("100644", "a"), ("40000", "a")],
            &[("100644", "a"), ("100644", "a")],
            &[("40000", "a"), ("100644", "a-b")],
        ] {
            assert!(!tree(bad).unwrap().is_canonical(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(tree) = Tree::parse(&bytes, 20) {
                let read: usize = tree.entries().map(|entry| entry.name.len() + 22).sum();
                prop_assert!(read <= bytes.len());
            }
        }

        #[test]
        fn all_entries_come_back(names in proptest::collection::vec("[^\0]{1,9}", 0..9)) {
            let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_str())).collect();
            let tree = tree(&entries).unwrap();
            let read: Vec<_> = tree.entries().map(|entry| entry.name.to_vec()).collect();
            prop_assert_eq!(read, names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
