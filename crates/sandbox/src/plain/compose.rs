//! Layers put together by copying, lowest first, as an overlay would show them: whiteouts and opaque directories count.
//!
//! Copies share blocks with the layers where the file system can (reflinks), and never are the files of the layers (hard
//! links): commands may change them. Links are never followed. Directories are walked by name beneath open ones, so that
//! neither the depth nor the names that an author chose matter.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, openat, statat,
    unlinkat,
};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BUFFER: usize = 1 << 20;
const OPAQUE: [&CStr; 2] = [c"user.overlay.opaque", c"trusted.overlay.opaque"];
const WHITEOUT: [&CStr; 2] = [c"user.overlay.whiteout", c"trusted.overlay.whiteout"];

/// A copy that did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// What was being done, and to what.
    pub doing: String,
    pub source: io::Error,
}

fn failed<E: Into<io::Error>>(doing: &str, name: &CStr) -> impl FnOnce(E) -> Failed {
    let doing = format!("{doing} `{}`", name.to_string_lossy());
    move |error| Failed { doing, source: error.into() }
}

/// Copies the layers into an empty directory.
pub fn compose(lower: &[PathBuf], into: &Path) -> Result<(), Failed> {
    let open = |path: &Path| {
        rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(|errno| Failed {
            doing: format!("open the layer {}", path.display()),
            source: errno.into(),
        })
    };
    for layer in lower {
        let copy = Copy { top: open(into)?, copied: HashMap::new(), buffer: vec![0; BUFFER] };
        copy.layer(open(layer)?, open(into)?)?;
    }
    Ok(())
}

/// Removes a directory of ours and all below it, closed directories too. None there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Gives the owner every right on all directories.
fn open_up(path: &Path) -> io::Result<()> {
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A directory that is being copied.
struct Frame {
    name: CString,
    stat: Stat,
    entries: std::vec::IntoIter<CString>,
}

/// The copying of one layer.
struct Copy {
    /// The top of the target.
    top: OwnedFd,
    /// Where files that have several names in the layer were copied to first, below the top.
    copied: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
}

impl Copy {
    fn layer(mut self, mut source: OwnedFd, mut target: OwnedFd) -> Result<(), Failed> {
        let stat = rustix::fs::fstat(&source).map_err(failed("look at", c"."))?;
        let mut path = PathBuf::new();
        let mut frames = vec![Frame { name: c".".to_owned(), stat, entries: names(&source)? }];
        while let Some(top) = frames.last_mut() {
            let Some(name) = top.entries.next() else {
                let Some(done) = frames.pop() else { return Ok(()) };
                if frames.is_empty() {
                    return finish_directory(target.as_fd(), c".", &done.stat);
                }
                path.pop();
                source = parent(&source)?;
                target = parent(&target)?;
                finish_directory(target.as_fd(), &done.name, &done.stat)?;
                continue;
            };
            let stat = statat(&source, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("look at", &name))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                self.other(source.as_fd(), target.as_fd(), &name, &stat, &path)?;
                continue;
            }
            let inner =
                openat(&source, &name, DIRECTORY, Mode::empty()).map_err(failed("open", &name))?;
            target = make_directory(&target, &name, has_mark(&inner, OPAQUE))?;
            let entries = names(&inner)?;
            source = inner;
            path.push(OsStr::from_bytes(name.to_bytes()));
            frames.push(Frame { name, stat, entries });
        }
        Ok(())
    }

    /// Anything but a directory.
    fn other(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        folder: &Path,
    ) -> Result<(), Failed> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            return self.file(source, target, name, stat, folder);
        }
        if kind == FileType::Symlink {
            let to = rustix::fs::readlinkat(source, name, Vec::new());
            let to = to.map_err(failed("read", name))?;
            clear(target, name)?;
            rustix::fs::symlinkat(&*to, target, name).map_err(failed("make", name))?;
            return set_times(target, name, stat);
        }
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return clear(target, name);
        }
        // Sealed layers hold no devices, pipes and sockets, and a source never does.
        Ok(())
    }

    fn file(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        folder: &Path,
    ) -> Result<(), Failed> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = openat(source, name, flags, Mode::empty()).map_err(failed("open", name))?;
        clear(target, name)?;
        if stat.st_size == 0 && has_mark(&from, WHITEOUT) {
            return Ok(());
        }
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.copied.get(&identity)
            && rustix::fs::linkat(&self.top, first, target, name, AtFlags::empty()).is_ok()
        {
            return Ok(());
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let to = openat(target, name, flags, Mode::from_raw_mode(0o600))
            .map_err(failed("make", name))?;
        if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
            self.contents(&from, &to, stat).map_err(failed("copy", name))?;
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o1777);
        rustix::fs::fchmod(&to, mode).map_err(failed("change the mode of", name))?;
        if stat.st_nlink > 1 {
            self.copied.insert(identity, folder.join(OsStr::from_bytes(name.to_bytes())));
        }
        set_times(target, name, stat)
    }

    /// Copies what there is; holes stay holes.
    fn contents(&mut self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        let mut at = 0;
        while at < length {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // A file system that does not know of holes.
                Err(_) => at,
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(length);
            at = self.piece(from, to, start, end.min(length))?;
        }
        rustix::fs::ftruncate(to, length)?;
        Ok(())
    }

    fn piece(&mut self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> io::Result<u64> {
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = rustix::io::pread(from, &mut self.buffer[..wanted], at)?;
            if count == 0 {
                return Ok(u64::MAX);
            }
            let mut written = 0;
            while written < count {
                let offset = at + written as u64;
                written += rustix::io::pwrite(to, &self.buffer[written..count], offset)?;
            }
            at += count as u64;
        }
        Ok(at)
    }
}

/// Opens the directory of that name, made if it is not there; empty if the layer hides what is below.
fn make_directory(target: &OwnedFd, name: &CStr, opaque: bool) -> Result<OwnedFd, Failed> {
    match statat(target, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if opaque || FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            clear(target.as_fd(), name)?;
        }
        Ok(_) => {
            // Its mode may be that of a lower layer, which is of no use here.
            return openat(target, name, DIRECTORY, Mode::empty()).map_err(failed("open", name));
        }
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("look at", name)(errno)),
    }
    rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o700)).map_err(failed("make", name))?;
    openat(target, name, DIRECTORY, Mode::empty()).map_err(failed("open", name))
}

fn finish_directory(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Failed> {
    // Sealing leaves its owner every right; a source, too. It is ours, so it stays open to us.
    let mode = Mode::from_raw_mode((stat.st_mode & 0o1777) | 0o700);
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
        .map_err(failed("change the mode of", name))?;
    set_times(parent, name, stat)
}

fn set_times(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Failed> {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("set the time of", name))
}

/// Takes away what lower layers put there.
fn clear(target: BorrowedFd<'_>, name: &CStr) -> Result<(), Failed> {
    match unlinkat(target, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            let number = std::os::fd::AsRawFd::as_raw_fd(&target);
            let folder = PathBuf::from(format!("/proc/self/fd/{number}"));
            remove(&folder.join(OsStr::from_bytes(name.to_bytes()))).map_err(failed("remove", name))
        }
        Err(errno) => Err(failed("remove", name)(errno)),
    }
}

fn has_mark(file: &OwnedFd, marks: [&CStr; 2]) -> bool {
    let mut value = [0_u8; 8];
    // A file system without attributes has no marks.
    marks.iter().any(|mark| match rustix::fs::fgetxattr(file, *mark, &mut value[..]) {
        Ok(1) => value[0] == b'y',
        // A whiteout needs no value.
        Ok(0) => true,
        Ok(_) | Err(_) => false,
    })
}

fn parent(directory: &OwnedFd) -> Result<OwnedFd, Failed> {
    openat(directory, c"..", DIRECTORY, Mode::empty()).map_err(failed("open", c".."))
}

fn names(directory: &OwnedFd) -> Result<std::vec::IntoIter<CString>, Failed> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed("list", c"."))? {
        let entry = entry.map_err(failed("list", c"."))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names.into_iter())
}

#[cfg(test)]
mod tests;
