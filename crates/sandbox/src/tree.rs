//! Detached mounts of layers, binds and devices, made by whoever may open the paths.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::mount::OpenTreeFlags;

use crate::init::{Failure, Step};
use crate::raw;
use crate::wire::Launch;

const HARMLESS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Everything of the host that a sandbox shows.
pub struct Trees {
    /// Bottom first.
    pub lower: Vec<OwnedFd>,
    /// The directory of the writable layer and its scratch directory.
    pub upper: OwnedFd,
    /// In the order of the request.
    pub binds: Vec<OwnedFd>,
}

/// Opens all of them. With an id mapping, layers are shown through it.
pub fn open(launch: &Launch, id_map: Option<BorrowedFd<'_>>) -> Result<Trees, Failure> {
    let layer = |path: &Path, flags: u64| {
        let name = path.display();
        let tree = clone(path, false).step(format!("open the layer {name}"))?;
        raw::set_mount(fd(&tree), flags, id_map, false).step(format!("map the layer {name}"))?;
        Ok(tree)
    };
    let read_only = HARMLESS | libc::MOUNT_ATTR_RDONLY;
    let lower = launch.lower.iter().map(|path| layer(path, read_only));
    let lower = lower.collect::<Result<Vec<_>, Failure>>()?;
    let upper = layer(launch.upper.parent().unwrap_or(Path::new("/")), HARMLESS)?;
    let binds = launch.binds.iter().map(|bind| {
        let name = bind.source.display();
        let tree = clone(&bind.source, true).step(format!("open the bind {name}"))?;
        let flags = if bind.writable { HARMLESS } else { read_only };
        raw::set_mount(fd(&tree), flags, None, true).step(format!("restrict the bind {name}"))?;
        Ok(tree)
    });
    let binds = binds.collect::<Result<Vec<_>, Failure>>()?;
    Ok(Trees { lower, upper, binds })
}

/// A detached copy of the mount at a path, with or without the mounts below it.
pub fn clone(path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags)
}

/// Whether what the descriptor shows is a directory.
pub fn is_directory(tree: &OwnedFd) -> rustix::io::Result<bool> {
    let status = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH)?;
    Ok(rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::Directory)
}

fn fd(tree: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(tree)
}
