//! Reading files that a hostile sandbox wrote: by glob, beneath its workspace, regular files only, bounded in every way.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::error::Error;

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;
/// How many entries are looked at.
const MAX_ENTRIES: usize = 200_000;

/// How much is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Files.
    pub files: usize,
    /// Bytes of one file.
    pub bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Path below the workspace, and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// What was left out, with the reason.
    pub left_out: Vec<String>,
}

/// Reads the files below `workspace` that match one of the globs.
pub(crate) fn read_files(
    workspace: &Path,
    patterns: &[String],
    limits: ReadLimits,
) -> Result<Found, Error> {
    let globs = globs(patterns)?;
    let mut found = Found::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(workspace, flags, Mode::empty()) {
        Ok(root) => root,
        // Nothing was written below the workspace.
        Err(rustix::io::Errno::NOENT) => return Ok(found),
        Err(errno) => return Err(Error::system("open", workspace)(errno)),
    };
    let mut walk = Walk { root: &root, globs, limits, entries: 0, bytes: 0, found: &mut found };
    walk.run();
    Ok(found)
}

fn globs(patterns: &[String]) -> Result<GlobSet, Error> {
    let invalid = |glob: &str| {
        let glob = glob.to_owned();
        move |source| Error::GlobInvalid { glob, source }
    };
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        builder.add(glob.map_err(invalid(pattern))?);
    }
    builder.build().map_err(invalid("reports"))
}

struct Walk<'a> {
    root: &'a OwnedFd,
    globs: GlobSet,
    limits: ReadLimits,
    entries: usize,
    bytes: u64,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn run(&mut self) {
        let mut folders = vec![(PathBuf::new(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let Ok(handle) = self.open(&folder, OFlags::DIRECTORY) else { continue };
            let Ok(entries) = Dir::read_from(&handle) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                self.entries += 1;
                if self.entries > MAX_ENTRIES {
                    let text =
                        format!("more than {MAX_ENTRIES} entries: the rest was not searched");
                    self.found.left_out.push(text);
                    return;
                }
                let Ok(name) = std::str::from_utf8(name) else { continue };
                let path = folder.join(name);
                if entry.file_type() == FileType::Directory {
                    if depth < MAX_DEPTH && name != ".git" {
                        folders.push((path, depth + 1));
                    }
                } else if self.globs.is_match(&path) {
                    self.take(&path);
                }
            }
        }
        self.found.files.sort();
    }

    fn take(&mut self, path: &Path) {
        let shown = path.display().to_string();
        if self.found.files.len() >= self.limits.files {
            self.found.left_out.push(format!("{shown}: more than {} files", self.limits.files));
            return;
        }
        match self.read(path) {
            Ok(content) if self.bytes + content.len() as u64 > self.limits.total_bytes => {
                let limit = self.limits.total_bytes;
                self.found.left_out.push(format!("{shown}: more than {limit} bytes of files"));
            }
            Ok(content) => {
                self.bytes += content.len() as u64;
                self.found.files.push((shown, content));
            }
            Err(reason) => self.found.left_out.push(format!("{shown}: {reason}")),
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let handle = self.open(path, OFlags::NONBLOCK).map_err(|errno| errno.to_string())?;
        let status = fstat(&handle).map_err(|errno| errno.to_string())?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err("not a regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let mut file = File::from(handle).take(self.limits.bytes + 1);
        file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > self.limits.bytes {
            return Err(format!("larger than {} bytes", self.limits.bytes));
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path, extra: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(self.root.as_fd(), path, flags, Mode::empty(), resolve)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_beneath_the_workspace_are_read() {
        let outside = tempfile::tempdir().unwrap();
        let workspace = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.xml"), "secret").unwrap();
        let inside = |name: &str| workspace.path().join(name);
        std::fs::create_dir(inside("report")).unwrap();
        std::fs::write(inside("report/good.xml"), "good").unwrap();
        std::fs::write(inside("report/large.xml"), "0123456789").unwrap();
        symlink(outside.path().join("secret.xml"), inside("report/link.xml")).unwrap();
        symlink(outside.path(), inside("outside")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inside("report/pipe.xml"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let limits = ReadLimits { files: 10, bytes: 8, total_bytes: 100 };
        let found = read_files(workspace.path(), &["**/*.xml".to_owned()], limits).unwrap();
        assert_eq!(found.files, [("report/good.xml".to_owned(), b"good".to_vec())]);
        let left_out = found.left_out.join("\n");
        for name in ["report/large.xml", "report/link.xml", "report/pipe.xml"] {
            assert!(left_out.contains(name), "{left_out}");
        }
    }

    #[test]
    fn no_workspace_is_no_report() {
        let missing = tempfile::tempdir().unwrap().path().join("gone");
        let limits = ReadLimits { files: 1, bytes: 1, total_bytes: 1 };
        assert!(read_files(&missing, &["*.xml".to_owned()], limits).unwrap().files.is_empty());
    }
}
