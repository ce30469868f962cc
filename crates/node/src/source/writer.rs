//! Writes files below one fresh directory: by names beneath open handles, so that a symlink written before never redirects
//! what is written after it; with exact modes, owners and times.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
    mkdirat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::repository::path_of;
use crate::Error;
use crate::error::shown;
use crate::layers::Owner;

/// A writer below one directory.
pub(super) struct TreeWriter {
    root: OwnedFd,
    owner: Option<(Uid, Gid)>,
    /// The directories made, for their times.
    directories: BTreeSet<Vec<u8>>,
    /// The directory written to last; files come sorted.
    parent: (Vec<u8>, OwnedFd),
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl TreeWriter {
    /// Writes below the new directory `name` of `layer`.
    pub(super) fn create(layer: &OwnedFd, name: &str, owner: Owner) -> Result<Self, Error> {
        let owner = owner.map(|(user, group)| (Uid::from_raw(user), Gid::from_raw(group)));
        mkdirat(layer, name, Mode::from_raw_mode(0o700)).map_err(Error::system("create", name))?;
        let root =
            openat(layer, name, DIRECTORY, Mode::empty()).map_err(Error::system("open", name))?;
        own_directory(&root, owner, name.as_bytes())?;
        let copy = root.try_clone().map_err(Error::io("open", name))?;
        Ok(Self { root, owner, directories: BTreeSet::new(), parent: (Vec::new(), copy) })
    }

    /// Makes a directory and all above it.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<(), Error> {
        self.parent = (path.to_vec(), self.open_directory(path)?);
        Ok(())
    }

    /// A new, empty file, to be passed to [`Self::finish_file`] when it is written.
    pub(super) fn file(&mut self, path: &[u8]) -> Result<File, Error> {
        let name = self.enter_parent(path)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.parent.1, path_of(name), flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(refused_or("create", path))
    }

    /// Gives a written file its mode, owner and time (seconds since 1970).
    pub(super) fn finish_file(
        &self,
        file: &File,
        path: &[u8],
        mode: u32,
        time: i64,
    ) -> Result<(), Error> {
        if let Some((user, group)) = self.owner {
            fchown(file, Some(user), Some(group))
                .map_err(refused_or("change the owner of", path))?;
        }
        fchmod(file, Mode::from_raw_mode(mode)).map_err(refused_or("change the mode of", path))?;
        futimens(file, &times(time)).map_err(refused_or("set the time of", path))
    }

    /// A whole small file.
    pub(super) fn write(
        &mut self,
        path: &[u8],
        mode: u32,
        contents: &[u8],
        time: i64,
    ) -> Result<(), Error> {
        let mut file = self.file(path)?;
        std::io::Write::write_all(&mut file, contents)
            .map_err(Error::io("write", path_of(path)))?;
        self.finish_file(&file, path, mode, time)
    }

    /// A symlink.
    pub(super) fn symlink(&mut self, path: &[u8], target: &[u8], time: i64) -> Result<(), Error> {
        let refused = |why| Error::HostileTree { path: shown(path), why };
        if target.is_empty() {
            return Err(refused("it is a symlink without a target"));
        }
        if target.contains(&0) {
            return Err(refused("it is a symlink to a name with a NUL byte"));
        }
        let name = self.enter_parent(path)?;
        let link = path_of(name);
        symlinkat(path_of(target), &self.parent.1, link).map_err(refused_or("create", path))?;
        if let Some((user, group)) = self.owner {
            chownat(&self.parent.1, link, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(refused_or("change the owner of", path))?;
        }
        utimensat(&self.parent.1, link, &times(time), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(refused_or("set the time of", path))
    }

    /// Gives the mode, owner and time of ours to a file that another program has written.
    pub(super) fn take_over(&mut self, path: &[u8], mode: u32, time: i64) -> Result<(), Error> {
        let name = self.enter_parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.parent.1, path_of(name), flags, Mode::empty())
            .map_err(refused_or("open", path))?;
        self.finish_file(&File::from(file), path, mode, time)
    }

    /// Gives all directories below `root`, and the root itself, their time: `time_of` their path, empty for the root.
    pub(super) fn finish(self, time_of: &dyn Fn(&[u8]) -> i64) -> Result<(), Error> {
        for path in &self.directories {
            let directory = self.open_directory_of_ours(path)?;
            futimens(&directory, &times(time_of(path)))
                .map_err(refused_or("set the time of", path))?;
        }
        futimens(&self.root, &times(time_of(b""))).map_err(refused_or("set the time of", b"."))
    }

    fn enter_parent<'p>(&mut self, path: &'p [u8]) -> Result<&'p [u8], Error> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        if self.parent.0 != parent {
            self.parent = (parent.to_vec(), self.open_directory(parent)?);
        }
        Ok(name)
    }

    /// Opens the directory `path`, making what is missing of it.
    fn open_directory(&mut self, path: &[u8]) -> Result<OwnedFd, Error> {
        let mut directory = self.root.try_clone().map_err(Error::io("open", path_of(path)))?;
        let mut end = 0;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            end += name.len() + usize::from(end > 0);
            directory = match openat(&directory, path_of(name), DIRECTORY, Mode::empty()) {
                Ok(open) => open,
                Err(Errno::NOENT) => {
                    mkdirat(&directory, path_of(name), Mode::from_raw_mode(0o700))
                        .map_err(refused_or("create", path))?;
                    let open = openat(&directory, path_of(name), DIRECTORY, Mode::empty())
                        .map_err(refused_or("open", path))?;
                    own_directory(&open, self.owner, path)?;
                    self.directories.insert(path[..end].to_vec());
                    open
                }
                Err(errno) => return Err(refused_or("open", path)(errno)),
            };
        }
        Ok(directory)
    }

    fn open_directory_of_ours(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let mut directory = self.root.try_clone().map_err(Error::io("open", path_of(path)))?;
        for name in path.split(|byte| *byte == b'/') {
            directory = openat(&directory, path_of(name), DIRECTORY, Mode::empty())
                .map_err(refused_or("open", path))?;
        }
        Ok(directory)
    }
}

fn own_directory(directory: &OwnedFd, owner: Option<(Uid, Gid)>, path: &[u8]) -> Result<(), Error> {
    if let Some((user, group)) = owner {
        fchown(directory.as_fd(), Some(user), Some(group))
            .map_err(refused_or("change the owner of", path))?;
    }
    fchmod(directory.as_fd(), Mode::from_raw_mode(0o755))
        .map_err(refused_or("change the mode of", path))
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Collisions come from the tree itself: it names one path both as a file or symlink and as a folder.
fn refused_or(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    let path = path.to_vec();
    move |errno| match errno {
        Errno::EXIST | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR => Error::HostileTree {
            path: shown(&path),
            why: "another path of the tree stands in its way",
        },
        _ => Error::system(action, path_of(&path))(errno),
    }
}
