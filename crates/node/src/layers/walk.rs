//! Walks a tree that a stranger made: by names beneath open directories, never through a symlink, without recursion, so
//! that neither depth (longer than any path may be) nor names nor closed modes matter.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::Error;

/// An entry as the walk found it.
pub(super) struct Entry<'a> {
    pub parent: BorrowedFd<'a>,
    pub name: &'a CStr,
    pub stat: &'a Stat,
    /// 1 for the entries of the root.
    pub depth: usize,
}

impl Entry<'_> {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn error(&self, action: &'static str) -> impl FnOnce(Errno) -> Error {
        Error::system(action, name_path(self.name))
    }
}

/// What to do with the entries. Entries of one directory come sorted by name.
pub(super) trait Visit {
    /// A directory that is about to be opened; `false` leaves it out.
    fn wants(&mut self, _directory: &Entry<'_>) -> Result<bool, Error> {
        Ok(true)
    }
    /// An open directory, before its entries.
    fn enter(&mut self, directory: &Entry<'_>, open: &OwnedFd) -> Result<(), Error>;
    /// Anything but a directory.
    fn other(&mut self, entry: &Entry<'_>) -> Result<(), Error>;
    /// A directory of a living tree that could not be looked into.
    fn missed(&mut self) {}
    /// A directory, after its entries.
    fn leave(&mut self, directory: &Entry<'_>) -> Result<(), Error>;
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Frame {
    name: CString,
    stat: Stat,
    entries: std::vec::IntoIter<CString>,
}

/// Whether somebody may be writing to the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// Nobody is: closed directories are opened up for their owner, and anything that moves is an error.
    Still,
    /// A sandbox is: nothing is changed, and what vanishes or is closed is passed to [`Visit::missed`].
    Living,
}

/// Visits everything below `root`, not `root` itself. Other file systems mounted below it are an error.
pub(super) fn walk(root: OwnedFd, tree: Tree, visitor: &mut dyn Visit) -> Result<(), Error> {
    let root_stat = fstat(&root).map_err(Error::system("read", "."))?;
    let device = root_stat.st_dev;
    let mut current = root;
    let mut frames =
        vec![Frame { name: c".".to_owned(), stat: root_stat, entries: names(&current)? }];
    while let Some(top) = frames.last_mut() {
        let Some(name) = top.entries.next() else {
            let done = frames.pop().unwrap_or_else(|| unreachable!("the loop saw a frame"));
            let Some(parent_frame) = frames.last() else { return Ok(()) };
            current = ascend(&current, &parent_frame.stat)?;
            let entry = Entry {
                parent: current.as_fd(),
                name: &done.name,
                stat: &done.stat,
                depth: frames.len(),
            };
            visitor.leave(&entry)?;
            continue;
        };
        let stat = match statat(&current, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(_) if tree == Tree::Living => continue,
            Err(errno) => return Err(Error::system("read", name_path(&name))(errno)),
        };
        let entry =
            Entry { parent: current.as_fd(), name: &name, stat: &stat, depth: frames.len() };
        if entry.kind() != FileType::Directory {
            visitor.other(&entry)?;
            continue;
        }
        if stat.st_dev != device {
            return Err(entry.error("cross into the file system mounted at")(Errno::XDEV));
        }
        if !visitor.wants(&entry)? {
            continue;
        }
        let open = match tree {
            Tree::Still => open_directory(entry.parent, &name)?,
            Tree::Living => match openat(entry.parent, &name, DIRECTORY, Mode::empty()) {
                Ok(open) if fstat(&open).is_ok_and(|found| found.st_ino == stat.st_ino) => open,
                _ => {
                    visitor.missed();
                    continue;
                }
            },
        };
        let entries = names(&open)?;
        visitor.enter(&entry, &open)?;
        current = open;
        frames.push(Frame { name, stat, entries });
    }
    Ok(())
}

/// Opens the directory `name` of `parent`, giving its owner all rights first where they are missing.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Error> {
    let opened = openat(parent, name, DIRECTORY, Mode::empty());
    let closed = match &opened {
        // An ordinary user also needs the right to search, which opening alone doesn't tell.
        Ok(_) if rustix::process::geteuid().is_root() => false,
        Ok(fd) => {
            let stat = fstat(fd).map_err(Error::system("read", name_path(name)))?;
            stat.st_mode & 0o700 != 0o700
        }
        Err(Errno::ACCESS) => true,
        Err(_) => false,
    };
    if !closed {
        return opened.map_err(Error::system("open", name_path(name)));
    }
    unlock(parent, name, 0o700)?;
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(Error::system("open", name_path(name)))
}

/// Adds the owner's rights `bits` to a file or directory that may not be opened as it is. Never follows a symlink.
pub(super) fn unlock(parent: BorrowedFd<'_>, name: &CStr, bits: u32) -> Result<(), Error> {
    let handle =
        openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::system("open", name_path(name)))?;
    let mode = fstat(&handle).map_err(Error::system("read", name_path(name)))?.st_mode;
    set_mode(&handle, (mode & 0o7777) | bits, name)
}

/// Sets the mode of what an `O_PATH` handle stands for; such a handle never is a followed symlink.
pub(super) fn set_mode(handle: &OwnedFd, mode: u32, name: &CStr) -> Result<(), Error> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
        .map_err(Error::system("change the mode of", name_path(name)))
}

pub(super) fn name_path(name: &CStr) -> PathBuf {
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).to_owned()
}

fn ascend(current: &OwnedFd, expected: &Stat) -> Result<OwnedFd, Error> {
    let parent =
        openat(current, c"..", DIRECTORY, Mode::empty()).map_err(Error::system("open", ".."))?;
    let stat = fstat(&parent).map_err(Error::system("read", ".."))?;
    if (stat.st_dev, stat.st_ino) != (expected.st_dev, expected.st_ino) {
        return Err(Error::system("return from a directory that was moved,", "..")(Errno::STALE));
    }
    Ok(parent)
}

fn names(directory: &OwnedFd) -> Result<std::vec::IntoIter<CString>, Error> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(Error::system("list", "."))? {
        let entry = entry.map_err(Error::system("list", "."))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names.into_iter())
}
