//! Removes trees that an ordinary `rm -rf` gives up on: closed modes, depth beyond any path, odd names.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use rustix::io::Errno;

use super::walk::{Entry, Tree, Visit, name_path, open_directory, walk};
use crate::Error;

struct Remove;

impl Visit for Remove {
    fn enter(&mut self, _directory: &Entry<'_>, _open: &OwnedFd) -> Result<(), Error> {
        Ok(())
    }

    fn other(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        unlinkat(entry.parent, entry.name, AtFlags::empty()).map_err(entry.error("remove"))
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<(), Error> {
        unlinkat(directory.parent, directory.name, AtFlags::REMOVEDIR)
            .map_err(directory.error("remove"))
    }
}

/// Removes `name` of the open directory `parent` and all below it. A name that is not there is no error.
pub(crate) fn remove_tree(parent: impl AsFd, name: &CStr) -> Result<(), Error> {
    let parent = parent.as_fd();
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::system("read", name_path(name))(errno)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return unlinkat(parent, name, AtFlags::empty())
            .map_err(Error::system("remove", name_path(name)));
    }
    walk(open_directory(parent, name)?, Tree::Still, &mut Remove)?;
    unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(Error::system("remove", name_path(name)))
}
