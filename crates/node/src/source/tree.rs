//! The list of files of a commit or a working tree, checked, before anything of it is written.

use std::collections::BTreeMap;

use sandgate_objects::ObjectId;

use super::names::{ConfiguredGlobs, check_path};
use super::objects::read_blobs;
use super::repository::Repository;
use super::sha::Sha;
use crate::Error;
use crate::error::shown;

/// The most files that a source may have.
pub const MAX_FILES: usize = 1_000_000;
/// The most bytes that the files of a source may have together.
pub const MAX_BYTES: u64 = 32 << 30;
/// The most folders that a source may have.
const MAX_FOLDERS: usize = 1_000_000;
/// How many folders are read at a time.
const FOLDERS_AT_ONCE: usize = 512;
/// The longest target of a symlink, in bytes.
pub(super) const MAX_LINK: u64 = 4095;

/// What a file of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A plain file.
    Plain,
    /// A file that may be run.
    Executable,
    /// A symlink.
    Symlink,
}

impl FileKind {
    pub(super) fn git_mode(self) -> u32 {
        match self {
            Self::Plain => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeFile {
    pub kind: FileKind,
    /// Git's name of the contents, without any conversion.
    pub sha: Sha,
}

/// Something in a source that we do not fetch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnsupportedEntry {
    /// A submodule; it becomes an empty directory.
    Submodule {
        /// Where it lies.
        path: String,
    },
    /// A pointer of git LFS; it stays a pointer.
    LfsPointer {
        /// Where it lies.
        path: String,
    },
    /// An untracked folder that is a repository of its own; it is left out.
    NestedRepository {
        /// Where it lies.
        path: String,
    },
    /// A socket, pipe or device in a working tree; it is left out.
    SpecialFile {
        /// Where it lies.
        path: String,
    },
}

impl UnsupportedEntry {
    /// What it is, in one word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Submodule { .. } => "submodule",
            Self::LfsPointer { .. } => "LFS pointer",
            Self::NestedRepository { .. } => "nested repository",
            Self::SpecialFile { .. } => "special file",
        }
    }

    /// Where it lies, from the root of the repository.
    pub fn path(&self) -> &str {
        match self {
            Self::Submodule { path }
            | Self::LfsPointer { path }
            | Self::NestedRepository { path }
            | Self::SpecialFile { path } => path,
        }
    }

    /// What to do instead.
    pub fn instead(&self) -> &'static str {
        match self {
            Self::Submodule { .. } => {
                "vendor its files, or fetch it in `setup` with `network: full`"
            }
            Self::LfsPointer { .. } => {
                "run `git lfs pull` in `setup` with `network: full`, or commit the file itself"
            }
            Self::NestedRepository { .. } => "remove its `.git`, or ignore it with `.gitignore`",
            Self::SpecialFile { .. } => "ignore it with `.gitignore`, or make it in a gate",
        }
    }
}

/// Where the contents of a tree come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Commit,
    WorkingTree { dirty: bool },
}

/// The files of a commit or a working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub(super) commit: Sha,
    pub(super) origin: Origin,
    pub(super) files: BTreeMap<Vec<u8>, TreeFile>,
    /// Paths of submodules and what is checked out there.
    pub(super) submodules: BTreeMap<Vec<u8>, Sha>,
    pub(super) unsupported: Vec<UnsupportedEntry>,
}

impl Tree {
    /// The commit, or the commit that the working tree is based on.
    pub fn commit(&self) -> &Sha {
        &self.commit
    }

    /// Whether the files differ from those of [`Self::commit`].
    pub fn dirty(&self) -> bool {
        self.origin == Origin::WorkingTree { dirty: true }
    }

    /// Whether the contents come from a working tree.
    pub fn is_working_tree(&self) -> bool {
        self.origin != Origin::Commit
    }

    /// What is not there as the repository has it.
    pub fn unsupported(&self) -> &[UnsupportedEntry] {
        &self.unsupported
    }

    /// The paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().map(Vec::as_slice)
    }

    /// The paths whose files differ from those of `base`: changed, added or removed.
    pub fn changed_since(&self, base: &Tree) -> Vec<Vec<u8>> {
        let differs = |path: &&Vec<u8>| self.files.get(*path) != base.files.get(*path);
        let mut changed: Vec<_> =
            self.files.keys().chain(base.files.keys()).filter(differs).cloned().collect();
        let submodule_differs =
            |path: &&Vec<u8>| self.submodules.get(*path) != base.submodules.get(*path);
        changed.extend(
            self.submodules.keys().chain(base.submodules.keys()).filter(submodule_differs).cloned(),
        );
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The paths that match any of `globs`.
    pub fn matching(&self, globs: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let globs = ConfiguredGlobs::new(globs)?;
        Ok(self.files.keys().filter(|path| globs.matches(path)).cloned().collect())
    }
}

impl Repository {
    /// The files of a commit.
    pub fn commit_tree(&self, commit: &Sha) -> Result<Tree, Error> {
        let mut tree = self.list_commit(commit)?;
        tree.unsupported.extend(self.lfs_pointers(&tree)?);
        tree.unsupported.sort();
        Ok(tree)
    }

    pub(super) fn list_commit(&self, commit: &Sha) -> Result<Tree, Error> {
        let mut tree = Tree {
            commit: commit.clone(),
            origin: Origin::Commit,
            files: BTreeMap::new(),
            submodules: BTreeMap::new(),
            unsupported: Vec::new(),
        };
        let top = self.objects().commit(commit.id()?)?.tree;
        let mut pending = vec![(Vec::new(), top)];
        let mut folders = pending.len();
        while !pending.is_empty() {
            let some = pending.split_off(pending.len().saturating_sub(FOLDERS_AT_ONCE));
            let ids: Vec<ObjectId> = some.iter().map(|(_, id)| *id).collect();
            for ((prefix, _), listing) in some.iter().zip(self.objects().trees(&ids)?) {
                for entry in listing.entries() {
                    let path = [prefix.as_slice(), entry.name].concat();
                    if entry.is_folder() {
                        check_path(&path)?;
                        pending.push(([path.as_slice(), b"/"].concat(), entry.id));
                        folders += 1;
                    } else {
                        tree.add(entry.canonical_mode(), entry.id.into(), &path)?;
                    }
                }
                if folders > MAX_FOLDERS {
                    let what = "the number of folders of the source".to_owned();
                    return Err(Error::TooLarge { what, limit: MAX_FOLDERS as u64 });
                }
            }
        }
        Ok(tree)
    }

    /// The files that are pointers of git LFS; only asked for where the attributes speak of LFS.
    fn lfs_pointers(&self, tree: &Tree) -> Result<Vec<UnsupportedEntry>, Error> {
        let attributes: Vec<&Sha> = tree
            .files
            .iter()
            .filter(|(path, file)| is_attributes(path) && file.kind != FileKind::Symlink)
            .map(|(_, file)| &file.sha)
            .collect();
        let mut texts = vec![Vec::new(); attributes.len()];
        read_blobs(self, &attributes, &mut |index, _, chunk| {
            let text: &mut Vec<u8> = &mut texts[index];
            if text.len() < 1 << 20 {
                text.extend_from_slice(chunk);
            }
            Ok(())
        })?;
        if !texts.iter().any(|text| mentions_lfs(text)) {
            return Ok(Vec::new());
        }
        let (paths, shas): (Vec<_>, Vec<_>) = tree
            .files
            .iter()
            .filter(|(_, file)| file.kind != FileKind::Symlink)
            .map(|(path, file)| (path, &file.sha))
            .unzip();
        let mut pointers = Vec::new();
        read_blobs(self, &shas, &mut |index, length, chunk| {
            if is_lfs_pointer(length, chunk) {
                pointers.push(UnsupportedEntry::LfsPointer { path: shown(paths[index]) });
            }
            Ok(())
        })?;
        Ok(pointers)
    }
}

/// Whether a path is a list of attributes.
pub(super) fn is_attributes(path: &[u8]) -> bool {
    path == b".gitattributes" || path.ends_with(b"/.gitattributes")
}

/// Whether a list of attributes gives files to LFS.
pub(super) fn mentions_lfs(text: &[u8]) -> bool {
    text.windows(10).any(|part| part == b"filter=lfs")
}

/// Whether a file of this length that begins so is a pointer of git LFS.
pub(super) fn is_lfs_pointer(length: u64, beginning: &[u8]) -> bool {
    length < 1024 && beginning.starts_with(LFS_HEAD)
}

const LFS_HEAD: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

impl Tree {
    pub(super) fn add(&mut self, mode: u32, sha: Sha, path: &[u8]) -> Result<(), Error> {
        check_path(path)?;
        if self.files.len() >= MAX_FILES {
            return Err(Error::TooLarge {
                what: "the number of files of the source".to_owned(),
                limit: MAX_FILES as u64,
            });
        }
        let kind = match mode {
            0o160_000 => {
                self.unsupported.push(UnsupportedEntry::Submodule { path: shown(path) });
                self.submodules.insert(path.to_vec(), sha);
                return Ok(());
            }
            0o120_000 => FileKind::Symlink,
            _ if mode & 0o111 != 0 => FileKind::Executable,
            _ => FileKind::Plain,
        };
        if self.files.insert(path.to_vec(), TreeFile { kind, sha }).is_some() {
            return Err(Error::HostileTree { path: shown(path), why: "it is there twice" });
        }
        Ok(())
    }
}
