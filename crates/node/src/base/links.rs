//! Finds the links below `/usr` and `/opt` that lead into `/etc`: what they lead to has to be in the skeleton.
//!
//! A machine has a hundred thousand files there, and the first start of a server waits for this walk. So folders are read
//! by several threads, no file is looked at beyond its entry, and folders of documents are left out.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, openat, readlinkat};

use super::etc::NEVER;

/// How many entries are looked at.
const MAX_ENTRIES: usize = 5_000_000;
/// Threads wait for the disk as well as for the processor.
const MAX_THREADS: usize = 8;
/// How much of a folder is read at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// Folders without a tool or a setting of one.
const DOCUMENTS: [&str; 17] = [
    "/usr/include",
    "/usr/share/doc",
    "/usr/share/doc-base",
    "/usr/share/fonts",
    "/usr/share/gtk-doc",
    "/usr/share/help",
    "/usr/share/icons",
    "/usr/share/info",
    "/usr/share/licenses",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/pixmaps",
    "/usr/share/sounds",
    "/usr/share/themes",
    "/usr/share/zoneinfo",
    "/usr/src",
];

/// The names below `/etc` that files of `folders` link to, directly.
pub(super) fn linked_names(folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let walk = Walk { state: Mutex::default(), changed: Condvar::new() };
    walk.lock().pending = apart(folders);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) * 2;
    std::thread::scope(|scope| {
        for _ in 1..threads.min(MAX_THREADS) {
            scope.spawn(|| walk.work());
        }
        walk.work();
    });
    let mut state = walk.lock();
    std::mem::take(&mut state.names)
}

/// The folders that hold all of the given ones, each file once: `/lib` is often a link into `/usr`.
fn apart(folders: &[PathBuf]) -> Vec<PathBuf> {
    let real: BTreeSet<PathBuf> =
        folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).collect();
    let is_below =
        |folder: &PathBuf| real.iter().any(|other| folder != other && folder.starts_with(other));
    real.iter().filter(|folder| !is_below(folder)).cloned().collect()
}

/// One walk of several threads.
struct Walk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<PathBuf>,
    /// How many threads read a folder now, and may find more.
    reading: usize,
    seen: usize,
    names: BTreeSet<PathBuf>,
}

/// What one folder holds.
#[derive(Default)]
struct Listing {
    folders: Vec<PathBuf>,
    names: Vec<PathBuf>,
    entries: usize,
}

impl Walk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        while let Some(folder) = self.next() {
            let listing = list(&folder, &mut buffer);
            let mut state = self.lock();
            state.reading -= 1;
            state.seen += listing.entries;
            state.names.extend(listing.names);
            if state.seen <= MAX_ENTRIES {
                state.pending.extend(listing.folders);
            }
            let is_news = state.pending.len() > 1 || state.reading == 0;
            drop(state);
            if is_news {
                self.changed.notify_all();
            }
        }
    }

    /// The next folder to read; none when all are read.
    fn next(&self) -> Option<PathBuf> {
        let mut state = self.lock();
        loop {
            if let Some(folder) = state.pending.pop() {
                state.reading += 1;
                return Some(folder);
            }
            if state.reading == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What can't be read is left out: sandboxes can't read it either.
fn list(folder: &Path, buffer: &mut [MaybeUninit<u8>]) -> Listing {
    let mut listing = Listing::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(open) = openat(CWD, folder, flags, Mode::empty()) else { return listing };
    let mut entries = RawDir::new(&open, buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            // Some file systems don't tell.
            kind = kind_of(&open, name);
        }
        listing.entries += 1;
        if kind == FileType::Directory && !matches!(name.to_bytes(), b"." | b"..") {
            let path = folder.join(OsStr::from_bytes(name.to_bytes()));
            if !DOCUMENTS.iter().any(|documents| path.as_os_str() == *documents) {
                listing.folders.push(path);
            }
        } else if kind == FileType::Symlink
            && let Ok(target) = readlinkat(&open, name, Vec::new())
            && let Some(name) = name_below_etc(Path::new(OsStr::from_bytes(target.to_bytes())))
        {
            listing.names.push(name);
        }
    }
    listing
}

fn kind_of(folder: &impl std::os::fd::AsFd, name: &CStr) -> FileType {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(folder, name, flags)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

fn name_below_etc(target: &Path) -> Option<PathBuf> {
    let text = target.as_os_str().as_bytes();
    // Relative links climb to the root first: `../../etc/x`.
    let climbed = target.strip_prefix("/").ok().or_else(|| {
        let down = target.components().position(|part| part.as_os_str() != "..")?;
        (down > 0 && text.starts_with(b"..")).then(|| {
            let length = down * 3;
            Path::new(OsStr::from_bytes(&text[length.min(text.len())..]))
        })
    })?;
    let name = climbed.strip_prefix("etc").ok()?.components().next()?;
    let is_wanted = !NEVER.iter().any(|never| name.as_os_str() == *never);
    is_wanted.then(|| Path::new(name.as_os_str()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_into_etc_are_found_at_any_depth_and_each_name_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let deep = folder.path().join("lib/jvm/java/conf/security");
        fs::create_dir_all(&deep).unwrap();
        for number in 0..300 {
            fs::create_dir(folder.path().join(number.to_string())).unwrap();
        }
        for (place, target) in [
            (deep.join("policy"), "/etc/java/security/policy"),
            (deep.join("other"), "/etc/java/security/other"),
            (folder.path().join("299/conf"), "../../../etc/maven"),
            (folder.path().join("7/users"), "/etc/passwd"),
            (folder.path().join("7/inside"), "/usr/bin/etc/x"),
            (folder.path().join("7/up"), "../etc-backup/x"),
            (folder.path().join("7/loop"), "."),
        ] {
            symlink(target, place).unwrap();
        }
        let found = linked_names(&[folder.path().to_owned(), folder.path().join("lib")]);
        assert_eq!(found, BTreeSet::from([PathBuf::from("java"), PathBuf::from("maven")]));
        assert_eq!(linked_names(&[folder.path().join("gone")]), BTreeSet::new());
    }

    #[test]
    fn documents_are_not_looked_at_on_this_machine() {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let share = list(Path::new("/usr/share"), &mut buffer);
        assert!(share.entries > 2 && !share.folders.contains(&PathBuf::from("/usr/share/man")));
    }
}
