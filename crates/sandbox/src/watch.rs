//! Holding the disk limits of a writable layer by looking at it.
//!
//! No quota is needed. Each tick asks the file system how full it is, which costs microseconds; only when it moved is
//! the layer walked, the sooner the nearer its limit could be, and never for more than a tenth of the time.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::spec::Limit;

/// Between two looks at the file system.
pub const TICK: Duration = Duration::from_millis(50);
const USUAL: Duration = Duration::from_secs(1);
const AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// A relative path longer than this gets a new directory to start from.
const LONGEST_PATH: usize = 3000;
/// So many restarts deep (about 190 kB of path) nobody goes who does not mean harm.
const DEEPEST: usize = 64;

/// What a layer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    pub bytes: u64,
    pub inodes: u64,
    /// Directories that could not be read, whose contents are missing from the sums.
    pub closed: u64,
}

/// The limits of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    pub bytes: u64,
    pub inodes: u64,
}

impl Quota {
    /// Which of the two is broken.
    pub fn broken(self, measure: Measure) -> Option<Limit> {
        if measure.bytes > self.bytes {
            return Some(Limit::DiskBytes);
        }
        (measure.inodes > self.inodes).then_some(Limit::DiskInodes)
    }
}

/// Used bytes and inodes of a whole file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fullness {
    pub bytes: u64,
    pub inodes: u64,
}

impl Fullness {
    pub fn of(path: &Path) -> io::Result<Self> {
        let status = rustix::fs::statvfs(path)?;
        Ok(Self {
            bytes: status.f_blocks.saturating_sub(status.f_bfree) * status.f_frsize,
            inodes: status.f_files.saturating_sub(status.f_ffree),
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            inodes: self.inodes.saturating_sub(earlier.inodes),
        }
    }
}

/// When to walk.
#[derive(Debug)]
pub struct Pace {
    quota: Quota,
    at_start: Fullness,
    at_walk: Fullness,
    walked: Instant,
    cost: Duration,
    last: Measure,
}

impl Pace {
    pub fn new(quota: Quota, fullness: Fullness, now: Instant) -> Self {
        Self {
            quota,
            at_start: fullness,
            at_walk: fullness,
            walked: now,
            cost: Duration::ZERO,
            last: Measure::default(),
        }
    }

    /// Whether the layer should be walked now.
    pub fn due(&self, fullness: Fullness, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.walked);
        if age < self.cost * 10 {
            return false;
        }
        let moved = fullness.since(self.at_walk);
        let left_bytes = self.quota.bytes.saturating_sub(self.last.bytes);
        let left_inodes = self.quota.inodes.saturating_sub(self.last.inodes);
        moved.bytes > left_bytes / 2
            || moved.inodes > left_inodes / 2
            || (fullness != self.at_walk && age >= USUAL.max(self.cost * 20))
            || age >= AT_LEAST_EVERY.max(self.cost * 20)
    }

    /// Whether the file system grew by more than the layer may hold, and the layer does not show it.
    pub fn unexplained(&self, measure: Measure, fullness: Fullness) -> bool {
        let grown = fullness.since(self.at_start).bytes;
        grown > self.quota.bytes && measure.bytes <= self.quota.bytes
    }

    /// Takes note of a walk; gives the limit that is broken.
    pub fn walked(
        &mut self,
        measure: Measure,
        fullness: Fullness,
        started: Instant,
        now: Instant,
    ) -> Option<Limit> {
        (self.walked, self.cost) = (now, now.saturating_duration_since(started));
        (self.at_walk, self.last) = (fullness, measure);
        let hidden = if measure.closed > 0 {
            // What is behind closed directories is unknown, so the growth of the file system stands in for it.
            let grown = fullness.since(self.at_start);
            Measure {
                bytes: measure.bytes.max(grown.bytes),
                inodes: measure.inodes.max(grown.inodes),
                closed: measure.closed,
            }
        } else {
            measure
        };
        self.quota.broken(hidden)
    }
}

/// Sums up a directory, itself included, stopping where a limit is broken.
///
/// The tree may be changed meanwhile by hostile programs: no link and no other mount is ever followed, and what
/// vanishes is skipped. Hard links count once.
pub fn measure(directory: &Path, quota: Quota) -> io::Result<Measure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    let mut walk = Walk { measure: Measure::default(), linked: HashSet::new(), pending: vec![] };
    walk.pending.push(Place { anchor: Rc::new(top), path: PathBuf::from("."), depth: 0 });
    while let Some(place) = walk.pending.pop() {
        walk.visit(place)?;
        if quota.broken(walk.measure).is_some() {
            break;
        }
    }
    Ok(walk.measure)
}

/// Bytes of deleted files of an overlay that processes still hold open, and how many processes could not be asked.
///
/// The processes are the descendants of `ancestor`.
pub fn deleted_bytes(ancestor: u32) -> (u64, u64) {
    let mut files = HashSet::new();
    let (mut bytes, mut closed) = (0_u64, 0);
    let mut pending = children(ancestor);
    while let Some(process) = pending.pop() {
        pending.extend(children(process));
        let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
            // Pid 1 hides itself and holds no files; of others nobody knows.
            closed += u64::from(Path::new(&format!("/proc/{process}")).exists());
            continue;
        };
        for entry in entries.flatten() {
            if let Some((file, blocks)) = deleted(&entry.path())
                && files.insert(file)
            {
                bytes = bytes.saturating_add(blocks.saturating_mul(512));
            }
        }
    }
    (bytes, closed.saturating_sub(1))
}

fn children(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// Identity and blocks of an open file without a name, if it is in an overlay.
fn deleted(fd: &Path) -> Option<((u64, u64), u64)> {
    const OVERLAY: i64 = 0x794c_7630;
    let status = rustix::fs::stat(fd).ok()?;
    let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    if !is_file || status.st_nlink > 0 || rustix::fs::statfs(fd).ok()?.f_type != OVERLAY {
        return None;
    }
    Some(((status.st_dev, status.st_ino), status.st_blocks as u64))
}

struct Place {
    anchor: Rc<OwnedFd>,
    path: PathBuf,
    /// Anchors above.
    depth: usize,
}

struct Walk {
    measure: Measure,
    linked: HashSet<(u64, u64)>,
    pending: Vec<Place>,
}

impl Walk {
    fn visit(&mut self, place: Place) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let opened =
            rustix::fs::openat2(&*place.anchor, &place.path, flags, Mode::empty(), resolve);
        let directory = match opened {
            Ok(directory) => directory,
            Err(rustix::io::Errno::ACCESS) => {
                self.measure.closed += 1;
                return Ok(());
            }
            Err(
                rustix::io::Errno::NOENT
                | rustix::io::Errno::NOTDIR
                | rustix::io::Errno::LOOP
                | rustix::io::Errno::XDEV
                | rustix::io::Errno::AGAIN,
            ) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let status = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => status,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(rustix::io::Errno::ACCESS) => {
                    self.measure.closed += 1;
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            };
            let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            let counted_before = !is_directory
                && status.st_nlink > 1
                && !self.linked.insert((status.st_dev, status.st_ino));
            if counted_before {
                continue;
            }
            self.measure.inodes += 1;
            self.measure.bytes += (status.st_blocks as u64).saturating_mul(512);
            if is_directory {
                self.descend(&directory, &place, name)?;
            }
        }
        Ok(())
    }

    fn descend(
        &mut self,
        directory: &OwnedFd,
        place: &Place,
        name: &std::ffi::CStr,
    ) -> io::Result<()> {
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
        if place.path.as_os_str().len() + name.len() < LONGEST_PATH {
            let (anchor, path) = (Rc::clone(&place.anchor), place.path.join(name));
            self.pending.push(Place { anchor, path, depth: place.depth });
            return Ok(());
        }
        if place.depth == DEEPEST {
            self.measure.inodes = u64::MAX;
            return Ok(());
        }
        let anchor = Rc::new(directory.try_clone()?);
        self.pending.push(Place { anchor, path: PathBuf::from(name), depth: place.depth + 1 });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
