//! The files of a working tree as they are on the disk: tracked ones and untracked ones that are not ignored. A symlink is
//! read as a symlink and never followed, wherever it lies.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat};
use rustix::io::Errno;

use super::git::{LONG_ANSWER, LONG_DEADLINE};
use super::names::check_path;
use super::repository::{Repository, path_of};
use super::sha::{BlobHasher, ObjectFormat, Sha};
use super::tree::{
    FileKind, MAX_BYTES, Origin, Tree, UnsupportedEntry, is_attributes, is_lfs_pointer,
    mentions_lfs,
};
use crate::Error;
use crate::error::shown;

impl Repository {
    /// The files of the working tree. `excludes_file` is the user's own list of ignored files, if there is one.
    ///
    /// Everything is read once, so that the tree has its key; what changes between this and the building of a layer is
    /// noticed then.
    pub fn working_tree(&self, excludes_file: Option<&Path>) -> Result<Tree, Error> {
        let top_level = self.require_top_level()?;
        let head = self.head().ok_or_else(|| Error::EmptyRepository(top_level.to_owned()))?;
        let committed = self.list_commit(head)?;
        let root = open_root(top_level)?;
        let mut tree = Tree {
            commit: head.clone(),
            origin: Origin::WorkingTree { dirty: false },
            files: Default::default(),
            submodules: committed.submodules.clone(),
            unsupported: committed.unsupported.clone(),
        };
        let mut reader = WorkingReader { root, buffer: vec![0; 1 << 17] };
        let mut bytes = 0_u64;
        let mut lfs = LfsSigns::default();
        for path in self.working_paths(top_level, excludes_file)? {
            if !tree.submodules.contains_key(&path) {
                bytes += reader.add(&mut tree, &mut lfs, &path, head.format())?;
            }
            if bytes > MAX_BYTES {
                let what = "the size of the working tree in bytes".to_owned();
                return Err(Error::TooLarge { what, limit: MAX_BYTES });
            }
        }
        tree.origin = Origin::WorkingTree { dirty: tree.files != committed.files };
        if lfs.mentioned {
            tree.unsupported.extend(lfs.pointers);
        }
        tree.unsupported.sort();
        Ok(tree)
    }

    pub(super) fn require_top_level(&self) -> Result<&Path, Error> {
        self.top_level().ok_or_else(|| Error::BareRepository(self.git_dir().to_owned()))
    }

    /// Tracked and untracked paths, sorted, each once. Folders that are repositories of their own end with a slash.
    fn working_paths(
        &self,
        top_level: &Path,
        excludes_file: Option<&Path>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut command = self.git("ls-files").work_tree(top_level).deadline(LONG_DEADLINE);
        command = command.args(["-z", "--cached", "--others", "--exclude-standard"]);
        if let Some(file) = excludes_file.filter(|file| file.is_file()) {
            command = command.args(["--exclude-from"]).args([file]);
        }
        let listing = command.read(&[], LONG_ANSWER)?;
        let mut paths: Vec<Vec<u8>> = listing
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        paths.sort_unstable();
        paths.dedup();
        Ok(paths)
    }
}

pub(super) fn open_root(top_level: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(top_level, flags, Mode::empty()).map_err(Error::system("open", top_level))
}

/// Reads files beneath the top of a working tree.
pub(super) struct WorkingReader {
    pub root: OwnedFd,
    pub buffer: Vec<u8>,
}

/// What a tree shows of git LFS.
#[derive(Default)]
struct LfsSigns {
    /// Its attributes speak of it.
    mentioned: bool,
    pointers: Vec<UnsupportedEntry>,
}

impl LfsSigns {
    fn look(&mut self, path: &[u8], length: u64, chunk: &[u8]) {
        self.mentioned |= is_attributes(path) && mentions_lfs(chunk);
        if is_lfs_pointer(length, chunk) {
            self.pointers.push(UnsupportedEntry::LfsPointer { path: shown(path) });
        }
    }
}

/// What a path is on the disk.
pub(super) enum Found {
    File(File, Stat),
    Symlink(Vec<u8>),
    Directory(OwnedFd),
    Special,
    Nothing,
}

impl WorkingReader {
    /// Adds the file at `path`, if it is there; returns its size in bytes.
    fn add(
        &mut self,
        tree: &mut Tree,
        lfs: &mut LfsSigns,
        path: &[u8],
        format: ObjectFormat,
    ) -> Result<u64, Error> {
        if let Some(folder) = path.strip_suffix(b"/") {
            let path = shown(folder);
            tree.unsupported.push(UnsupportedEntry::NestedRepository { path });
            return Ok(0);
        }
        check_path(path)?;
        match self.find(path)? {
            Found::Nothing => Ok(0),
            Found::Special => {
                tree.unsupported.push(UnsupportedEntry::SpecialFile { path: shown(path) });
                Ok(0)
            }
            Found::Directory(folder) => {
                // A tracked path that is a folder now: a submodule that is not committed yet, or a file that made room.
                if rustix::fs::statat(&folder, ".git", rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok()
                {
                    tree.unsupported.push(UnsupportedEntry::Submodule { path: shown(path) });
                }
                Ok(0)
            }
            Found::Symlink(target) => {
                let mut hasher = BlobHasher::new(format, target.len() as u64);
                hasher.update(&target);
                tree.add(FileKind::Symlink.git_mode(), hasher.finish(), path)?;
                Ok(target.len() as u64)
            }
            Found::File(file, stat) => {
                let length = u64::try_from(stat.st_size).unwrap_or(0);
                let sha = self.hash(&file, &stat, path, format, &mut |chunk| {
                    lfs.look(path, length, chunk);
                    Ok(())
                })?;
                tree.add(file_kind(&stat).git_mode(), sha, path)?;
                Ok(length)
            }
        }
    }

    pub(super) fn find(&self, path: &[u8]) -> Result<Found, Error> {
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = match openat2(&self.root, path_of(path), flags, Mode::empty(), beneath) {
            Ok(open) => open,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
            Err(Errno::LOOP) => return self.find_symlink(path, beneath),
            // A socket.
            Err(Errno::NXIO) => return Ok(Found::Special),
            Err(errno) => return Err(Error::system("open", path_of(path))(errno)),
        };
        let stat = fstat(&open).map_err(Error::system("read", path_of(path)))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(if kind == FileType::RegularFile {
            Found::File(File::from(open), stat)
        } else if kind == FileType::Directory {
            Found::Directory(open)
        } else {
            Found::Special
        })
    }

    /// The path is a symlink itself, or leads through one and so is not in the tree any more.
    fn find_symlink(&self, path: &[u8], beneath: ResolveFlags) -> Result<Found, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = match openat2(&self.root, path_of(path), flags, Mode::empty(), beneath) {
            Ok(link) => link,
            Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
            Err(errno) => return Err(Error::system("open", path_of(path))(errno)),
        };
        match readlinkat(&link, "", Vec::new()) {
            Ok(target) => Ok(Found::Symlink(target.into_bytes())),
            Err(Errno::NOENT | Errno::INVAL) => Err(Error::SourceChanged(path_of(path).to_owned())),
            Err(errno) => Err(Error::system("read", path_of(path))(errno)),
        }
    }

    /// Git's name of the contents; every chunk is passed on as well. Noticed if the file grows, shrinks or is written to.
    pub(super) fn hash(
        &mut self,
        mut file: &File,
        stat: &Stat,
        path: &[u8],
        format: ObjectFormat,
        use_chunk: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Sha, Error> {
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        if length > MAX_BYTES {
            return Err(Error::TooLarge { what: shown(path), limit: MAX_BYTES });
        }
        let mut hasher = BlobHasher::new(format, length);
        let mut seen = 0_u64;
        loop {
            let read = file.read(&mut self.buffer).map_err(Error::io("read", path_of(path)))?;
            if read == 0 {
                break;
            }
            seen += read as u64;
            if seen > length {
                break;
            }
            hasher.update(&self.buffer[..read]);
            use_chunk(&self.buffer[..read])?;
        }
        let after = fstat(file).map_err(Error::system("read", path_of(path)))?;
        let same_time =
            (after.st_mtime, after.st_mtime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
        if seen != length || !same_time {
            return Err(Error::SourceChanged(path_of(path).to_owned()));
        }
        Ok(hasher.finish())
    }
}

pub(super) fn file_kind(stat: &Stat) -> FileKind {
    if stat.st_mode & 0o100 != 0 { FileKind::Executable } else { FileKind::Plain }
}
