//! The process level: plain processes of the calling user, for machines where namespaces can't be had.
//!
//! Nothing hides the machine from them. What is left is a private copy of the layers, an environment built from nothing,
//! limits where the machine has them, and an end: the inner half is the reaper of everything that was started.
//!
//! All sandboxes of a folder lie at the same path, one after the other: what a setup writes down of where it lies is still
//! true in the gates that stand on it.

pub mod compose;
pub mod strays;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Names the sandbox in the environment of everything that runs in it, so that it can be found whatever happens.
pub const MARK: &str = "SANDGATE_SANDBOX";

/// The folder in which sandboxes of the process level lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainFolder(PathBuf);

/// The right to be the only one in the folder. It ends when this is dropped, or its process ends.
#[derive(Debug)]
pub struct PlainHold {
    _lock: File,
}

impl PlainFolder {
    /// An existing folder of ours, on the file system of the writable layers.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// What commands of the sandbox see as the top of its files.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Takes the folder for this process; none if somebody else has it, with the id of that process if it told.
    pub fn hold(&self) -> io::Result<Result<PlainHold, Option<u32>>> {
        let path = self.0.join("lock");
        let mut lock =
            File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path)?;
                return Ok(Err(holder.trim().parse().ok()));
            }
            Err(errno) => return Err(errno.into()),
        }
        lock.set_len(0)?;
        lock.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Ok(PlainHold { _lock: lock }))
    }
}

/// Copies layers into an empty directory, the lowest first, as an overlay would show them.
///
/// # Errors
/// If something can't be read or written; the directory may hold a part of it then.
pub fn copy_layers(lower: &[PathBuf], into: &Path) -> Result<(), Error> {
    compose::compose(lower, into)
        .map_err(|failure| Error::Setup { step: failure.doing, source: failure.source })
}

/// One sandbox of the process level, on disk: its files lie in `root` while it lives, and in `upper` before and after.
#[derive(Debug, Clone)]
pub struct Place {
    pub root: PathBuf,
    pub upper: PathBuf,
}

/// The folder for temporary files, below the root: it is measured with the rest, and not kept.
pub const TEMPORARY: &str = "tmp";

impl Place {
    /// Moves the files to where commands see them. What a killed process left there goes.
    pub fn enter(&self) -> io::Result<()> {
        if self.root != self.upper {
            compose::remove(&self.root)?;
            fs::rename(&self.upper, &self.root)?;
        }
        match fs::create_dir(self.root.join(TEMPORARY)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Moves them back, when nothing runs any more.
    pub fn leave(&self) -> io::Result<()> {
        compose::remove(&self.root.join(TEMPORARY))?;
        if self.root == self.upper { Ok(()) } else { fs::rename(&self.root, &self.upper) }
    }
}
