//! Sealing: what a stopped sandbox wrote becomes a layer that is safe to keep and to stack.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, fchmod, fremovexattr, openat, unlinkat,
    utimensat,
};
use sandgate_domain::LayerId;

use super::build::{Durability, LayerBuild};
use super::digest::{attribute_names, is_trace};
use super::record::Layer;
use super::store::{LayerStore, Scratch, Usage, open_folder};
use super::walk::{Entry, Tree, Visit, name_path, unlock, walk};
use super::{SETUP_TIME, remove_tree};
use crate::Error;

/// What kind of sandbox wrote the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealRule {
    /// A setup. What is newer than [`SETUP_TIME`] gets that time, so that every file of a commit is newer than everything a
    /// setup built; compiled Python of the repository, which trusts size and time, is dropped.
    Setup,
    /// A gate. Its files keep their times.
    Gate,
}

impl LayerStore {
    /// Turns the writable layer of a stopped sandbox into the layer `id`. Sealing the same id again gives the same answer,
    /// also after a crash in the middle.
    ///
    /// Setuid and setgid bits, sockets, pipes and devices go; whiteouts and opaque marks stay; the owner may read
    /// everything afterwards.
    pub fn seal(&self, scratch: &Scratch, rule: SealRule, id: LayerId) -> Result<Layer, Error> {
        if let Some(layer) = self.get(id)? {
            self.delete_scratch(scratch.sandbox())?;
            return Ok(layer);
        }
        let mut build = LayerBuild::start(self, id, true)?;
        build.set_whole(scratch.is_whole());
        // From the adoption on, the files exist nowhere else: a failure must keep them for another attempt.
        let has_files = build.has_diff();
        if !has_files {
            clean(open_folder(&scratch.upper())?, rule)?;
            build.adopt(&scratch.upper())?;
            sandgate_domain::fail_point::reached("layer.adopted");
        }
        build.keep();
        if has_files {
            clean(build.open()?, rule)?;
        }
        let layer = build.publish(Durability::Synced)?;
        self.delete_scratch(scratch.sandbox())?;
        Ok(layer)
    }
}

fn clean(root: OwnedFd, rule: SealRule) -> Result<(), Error> {
    drop_traces(&root, c".")?;
    let mut cleaner = Clean { rule, workspace: false, packages_depth: None };
    walk(root, Tree::Still, &mut cleaner)
}

struct Clean {
    rule: SealRule,
    /// Inside `/workspace`.
    workspace: bool,
    /// The depth of the `site-packages` that we are in.
    packages_depth: Option<usize>,
}

impl Clean {
    fn drops_directory(&self, directory: &Entry<'_>) -> bool {
        self.rule == SealRule::Setup
            && self.workspace
            && self.packages_depth.is_none()
            && directory.name == c"__pycache__"
    }

    fn set_time(&self, entry: &Entry<'_>) -> Result<(), Error> {
        if self.rule == SealRule::Gate || !is_newer(entry) {
            return Ok(());
        }
        let time = Timespec { tv_sec: SETUP_TIME, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(entry.parent, entry.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(entry.error("set the time of"))
    }
}

impl Visit for Clean {
    fn wants(&mut self, directory: &Entry<'_>) -> Result<bool, Error> {
        if self.drops_directory(directory) {
            remove_tree(directory.parent, directory.name)?;
            return Ok(false);
        }
        Ok(true)
    }

    fn enter(&mut self, directory: &Entry<'_>, open: &OwnedFd) -> Result<(), Error> {
        if directory.depth == 1 {
            self.workspace = directory.name == c"workspace";
        }
        if directory.name == c"site-packages" && self.packages_depth.is_none() {
            self.packages_depth = Some(directory.depth);
        }
        drop_traces(open, directory.name)?;
        let mode = directory.stat.st_mode & 0o7777;
        let clean_mode = (mode & 0o1777) | 0o700;
        if mode != clean_mode {
            fchmod(open, Mode::from_raw_mode(clean_mode))
                .map_err(directory.error("change the mode of"))?;
        }
        Ok(())
    }

    fn other(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let kind = entry.kind();
        if kind == FileType::RegularFile {
            clean_file(entry)?;
        } else if kind != FileType::Symlink && !is_whiteout(entry) {
            return unlinkat(entry.parent, entry.name, AtFlags::empty())
                .map_err(entry.error("remove"));
        }
        if is_whiteout(entry) { Ok(()) } else { self.set_time(entry) }
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<(), Error> {
        if self.packages_depth == Some(directory.depth) {
            self.packages_depth = None;
        }
        // Removals inside have made it new, whatever it was before.
        let stat = rustix::fs::statat(directory.parent, directory.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(directory.error("read"))?;
        self.set_time(&Entry { stat: &stat, ..*directory })
    }
}

fn clean_file(entry: &Entry<'_>) -> Result<(), Error> {
    let mode = entry.stat.st_mode & 0o7777;
    let clean_mode = (mode & 0o1777) | 0o400;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if mode & 0o400 == 0 {
        unlock(entry.parent, entry.name, 0o400)?;
    }
    let file =
        openat(entry.parent, entry.name, flags, Mode::empty()).map_err(entry.error("open"))?;
    drop_traces(&file, entry.name)?;
    if mode != clean_mode {
        fchmod(&file, Mode::from_raw_mode(clean_mode))
            .map_err(entry.error("change the mode of"))?;
    }
    Ok(())
}

fn drop_traces(file: &OwnedFd, name: &CStr) -> Result<(), Error> {
    for attribute in attribute_names(file, name)? {
        if is_trace(attribute.to_bytes()) || attribute.to_bytes() == b"security.capability" {
            fremovexattr(file, &*attribute)
                .map_err(Error::system("remove an attribute of", name_path(name)))?;
        }
    }
    Ok(())
}

fn is_whiteout(entry: &Entry<'_>) -> bool {
    entry.kind() == FileType::CharacterDevice && entry.stat.st_rdev == 0
}

fn is_newer(entry: &Entry<'_>) -> bool {
    let nanoseconds = entry.stat.st_mtime_nsec;
    entry.stat.st_mtime > SETUP_TIME || (entry.stat.st_mtime == SETUP_TIME && nanoseconds > 0)
}

/// Counts what is below `root`.
pub(super) fn measure(root: OwnedFd, tree: Tree) -> Result<Usage, Error> {
    let mut count = Count(Usage::default());
    walk(root, tree, &mut count)?;
    Ok(count.0)
}

struct Count(Usage);

impl Count {
    fn add(&mut self, entry: &Entry<'_>) {
        self.0.files += 1;
        self.0.disk_bytes += u64::try_from(entry.stat.st_blocks).unwrap_or(0) * 512;
        if entry.kind() == FileType::RegularFile {
            self.0.bytes += u64::try_from(entry.stat.st_size).unwrap_or(0);
        }
    }
}

impl Visit for Count {
    fn enter(&mut self, directory: &Entry<'_>, _open: &OwnedFd) -> Result<(), Error> {
        self.add(directory);
        Ok(())
    }

    fn other(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        self.add(entry);
        Ok(())
    }

    fn missed(&mut self) {
        self.0.closed += 1;
    }

    fn leave(&mut self, _directory: &Entry<'_>) -> Result<(), Error> {
        Ok(())
    }
}
