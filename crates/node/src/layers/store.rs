//! The folder itself: opening, looking up, writable layers, deletion.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use sandgate_domain::{LayerId, SandboxId};

use super::build::LayerBuild;
use super::digest::{TreeDigest, digest_tree};
use super::record::{Layer, Record};
use super::seal::measure;
use super::walk::Tree;
use crate::Error;

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The sizes of its files, in bytes.
    pub bytes: u64,
    /// What it takes on the disk, in bytes.
    pub disk_bytes: u64,
    /// Files, directories and links, without the root.
    pub files: u64,
    /// Directories of a living sandbox that could not be looked into, and so are not counted.
    pub closed: u64,
}

/// The writable layer of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    sandbox: SandboxId,
    folder: PathBuf,
    whole: bool,
}

impl Scratch {
    /// The sandbox that it belongs to.
    pub fn sandbox(&self) -> SandboxId {
        self.sandbox
    }

    /// Says that it holds all files that the sandbox sees, not only those that it changed: the process level.
    pub(crate) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The directory that takes the writes.
    pub fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// The directory that the overlay works in.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// What the sandbox has written so far. It may be running.
    pub fn usage(&self) -> Result<Usage, Error> {
        usage(&self.upper())
    }
}

/// What a folder takes to which a sandbox may be writing.
pub(crate) fn usage(folder: &Path) -> Result<Usage, Error> {
    measure(open_folder(folder)?, Tree::Living)
}

/// The layers of one machine. Cheap to open; many processes may have it open at a time.
#[derive(Debug)]
pub struct LayerStore {
    root: PathBuf,
    layers: File,
    scratch: File,
    pub(super) lock: File,
    boot: String,
    /// Layers whose files have been looked at.
    whole: Mutex<HashSet<LayerId>>,
}

impl LayerStore {
    /// Opens the store in the folder `root`, making it if it is not there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        for folder in [root.to_owned(), root.join("layers"), root.join("scratch")] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(Error::io("create", &folder))?;
        }
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("change the mode of", root))?;
        let lock_path = root.join("lock");
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(Error::io("open", &lock_path))?;
        flock(&lock, FlockOperation::LockShared).map_err(Error::system("lock", &lock_path))?;
        let open = |name: &str| {
            let path = root.join(name);
            File::open(&path).map_err(Error::io("open", path))
        };
        Ok(Self {
            root: root.to_owned(),
            layers: open("layers")?,
            scratch: open("scratch")?,
            lock,
            boot: boot_id()?,
            whole: Mutex::default(),
        })
    }

    /// A new, empty writable layer for `sandbox`.
    pub fn new_scratch(&self, sandbox: SandboxId) -> Result<Scratch, Error> {
        let folder = self.root.join("scratch").join(sandbox.to_string());
        let temporary = self.root.join("scratch").join(format!(".new-{sandbox}"));
        super::remove_tree(&self.scratch, &c_name(&format!(".new-{sandbox}")))?;
        for path in [temporary.clone(), temporary.join("upper"), temporary.join("work")] {
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
            let mode = if path.ends_with("upper") { 0o755 } else { 0o700 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(Error::io("change the mode of", &path))?;
        }
        sandgate_domain::fail_point::reached("scratch.started");
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            &temporary,
            rustix::fs::CWD,
            &folder,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) => Ok(Scratch { sandbox, folder, whole: false }),
            Err(Errno::EXIST) => {
                super::remove_tree(&self.scratch, &c_name(&format!(".new-{sandbox}")))?;
                Err(Error::ScratchExists(sandbox))
            }
            Err(errno) => Err(Error::system("create", &folder)(errno)),
        }
    }

    /// The writable layer that `sandbox` has already, if any.
    pub fn scratch(&self, sandbox: SandboxId) -> Option<Scratch> {
        let folder = self.root.join("scratch").join(sandbox.to_string());
        folder.is_dir().then_some(Scratch { sandbox, folder, whole: false })
    }

    /// Removes the writable layer of a stopped sandbox. Removing it twice is no error.
    pub fn delete_scratch(&self, sandbox: SandboxId) -> Result<(), Error> {
        retire(&self.scratch, &sandbox.to_string())
    }

    /// Starts a layer that the caller fills with files.
    pub fn build(&self, id: LayerId) -> Result<LayerBuild<'_>, Error> {
        LayerBuild::start(self, id, false)
    }

    /// The layer `id`, if it is here and survived the last restart of the machine.
    pub fn get(&self, id: LayerId) -> Result<Option<Layer>, Error> {
        let folder = self.layer_folder(id);
        let Some(record) = Record::read(id, &folder)? else { return Ok(None) };
        if record.unsynced_boot.as_ref().is_some_and(|boot| *boot != self.boot) {
            return Ok(None);
        }
        let path = folder.join("diff");
        if !path.is_dir() {
            return Err(Error::Corrupt { layer: id, what: "its files are missing".to_owned() });
        }
        let Record { bytes, files, whole, .. } = record;
        Ok(Some(Layer { id, path, bytes, files, whole }))
    }

    /// Makes layers outlast a restart of the machine, since something stands on them that can't be made again.
    ///
    /// # Errors
    /// If one of them is not here, or the disk refuses.
    pub fn persist(&self, ids: &[LayerId]) -> Result<(), Error> {
        let mut unsynced = Vec::new();
        for id in ids {
            self.require(*id)?;
            let folder = self.layer_folder(*id);
            let record = Record::read(*id, &folder)?.ok_or(Error::LayerMissing(*id))?;
            if record.unsynced_boot.is_some() {
                unsynced.push((folder, record));
            }
        }
        if unsynced.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(&self.layers).map_err(Error::system("sync", &self.root))?;
        for (folder, record) in unsynced {
            Record { unsynced_boot: None, ..record }.replace(&folder)?;
        }
        Ok(())
    }

    /// As [`LayerStore::get`], and with a look at each of its files when this store is asked for the first time: a layer
    /// whose files are fewer, more, or of other sizes than when it was sealed is an error. Contents are not read; see
    /// [`LayerStore::verify`] for that.
    pub fn get_whole(&self, id: LayerId) -> Result<Option<Layer>, Error> {
        let Some(layer) = self.get(id)? else { return Ok(None) };
        if self.whole().contains(&id) {
            return Ok(Some(layer));
        }
        let found = measure(open_folder(&layer.path)?, Tree::Still)?;
        if (found.files, found.bytes) != (layer.files, layer.bytes) {
            let what = format!(
                "it holds {} files with {} bytes, and was sealed with {} files and {} bytes",
                found.files, found.bytes, layer.files, layer.bytes
            );
            return Err(Error::Corrupt { layer: id, what });
        }
        self.whole().insert(id);
        Ok(Some(layer))
    }

    fn whole(&self) -> MutexGuard<'_, HashSet<LayerId>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a layer. Removing it twice is no error.
    pub fn delete(&self, id: LayerId) -> Result<(), Error> {
        retire(&self.layers, &id.to_string())
    }

    /// What the layer takes.
    pub fn size(&self, id: LayerId) -> Result<Usage, Error> {
        measure(open_folder(&self.require(id)?.path)?, Tree::Still)
    }

    /// The digest of the layer's files.
    pub fn digest(&self, id: LayerId) -> Result<TreeDigest, Error> {
        digest_tree(open_folder(&self.require(id)?.path)?)
    }

    /// Checks that the layer's files are those that `expected` was made from.
    pub fn verify(&self, id: LayerId, expected: TreeDigest) -> Result<(), Error> {
        let found = self.digest(id)?;
        if found == expected {
            return Ok(());
        }
        Err(Error::Corrupt {
            layer: id,
            what: format!("its files have the digest {found}, not {expected}"),
        })
    }

    pub(super) fn require(&self, id: LayerId) -> Result<Layer, Error> {
        self.get(id)?.ok_or(Error::LayerMissing(id))
    }

    pub(super) fn layer_folder(&self, id: LayerId) -> PathBuf {
        self.layers_path().join(id.to_string())
    }

    pub(super) fn layers_path(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn layers_handle(&self) -> BorrowedFd<'_> {
        self.layers.as_fd()
    }

    pub(super) fn scratch_handle(&self) -> BorrowedFd<'_> {
        self.scratch.as_fd()
    }

    pub(super) fn boot(&self) -> &str {
        &self.boot
    }
}

/// Takes the final name away at once, then removes the tree.
pub(super) fn retire(folder: impl AsFd, name: &str) -> Result<(), Error> {
    let gone = c_name(&format!(".gone-{name}"));
    super::remove_tree(folder.as_fd(), &gone)?;
    match rustix::fs::renameat(folder.as_fd(), &*c_name(name), folder.as_fd(), &*gone) {
        Ok(()) => {
            sandgate_domain::fail_point::reached("layer.retired");
            super::remove_tree(folder.as_fd(), &gone)
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::system("remove", name)(errno)),
    }
}

/// Our own names hold no NUL.
pub(super) fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::system("open", path))
}

fn boot_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    Ok(text.trim().to_owned())
}
