//! A layer in the making: filled under a temporary name, published by one rename.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with, syncfs};
use rustix::io::Errno;
use sandgate_domain::LayerId;

use super::record::{Layer, Record};
use super::seal::measure;
use super::store::{LayerStore, c_name, open_folder};
use super::walk::Tree;
use crate::Error;

/// Whether publishing a layer waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// All bytes are on the disk before the layer has its name: for what cannot be made again.
    Synced,
    /// The disk is not waited for; after a restart of the machine the layer counts as lost. For what can be built again.
    UntilReboot,
}

/// A layer that is being filled. Dropping it without [`LayerBuild::publish`] removes it.
#[derive(Debug)]
pub struct LayerBuild<'a> {
    store: &'a LayerStore,
    id: LayerId,
    folder: PathBuf,
    lock: File,
    published: bool,
    whole: bool,
}

impl<'a> LayerBuild<'a> {
    /// Starts the layer `id` in an empty directory, or takes over a started one if `resume` says so.
    pub(super) fn start(store: &'a LayerStore, id: LayerId, resume: bool) -> Result<Self, Error> {
        let name = format!(".new-{id}");
        let folder = store.layers_path().join(&name);
        if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&folder)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(Error::io("create", &folder)(error));
        }
        let lock = File::open(&folder).map_err(Error::io("open", &folder))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::LayerBusy(id)),
            Err(errno) => return Err(Error::system("lock", &folder)(errno)),
        }
        let build = Self { store, id, folder, lock, published: false, whole: false };
        if !resume {
            super::remove_tree(&build.lock, c"diff")?;
            let diff = build.path();
            fs::create_dir(&diff).map_err(Error::io("create", &diff))?;
            fs::set_permissions(&diff, fs::Permissions::from_mode(0o755))
                .map_err(Error::io("change the mode of", &diff))?;
        }
        Ok(build)
    }

    /// The id that the layer will have.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// The directory to fill; it becomes the root of the layer.
    pub fn path(&self) -> PathBuf {
        self.folder.join("diff")
    }

    /// An open handle of [`Self::path`].
    pub fn open(&self) -> Result<OwnedFd, Error> {
        open_folder(&self.path())
    }

    /// Gives the layer its name. If it has been published before, by whomever, that layer is the answer.
    pub fn publish(mut self, durability: Durability) -> Result<Layer, Error> {
        let usage = measure(self.open()?, Tree::Still)?;
        let unsynced_boot = match durability {
            Durability::Synced => None,
            Durability::UntilReboot => Some(self.store.boot().to_owned()),
        };
        let whole = self.whole;
        Record { bytes: usage.bytes, files: usage.files, unsynced_boot, whole }
            .write(&self.folder)?;
        if durability == Durability::Synced {
            syncfs(&self.lock).map_err(Error::system("sync", &self.folder))?;
        }
        sandgate_domain::fail_point::reached("layer.written");
        let layers = self.store.layers_handle();
        let renamed = renameat_with(
            layers,
            &*c_name(&format!(".new-{}", self.id)),
            layers,
            &*c_name(&self.id.to_string()),
            RenameFlags::NOREPLACE,
        );
        match renamed {
            Ok(()) => self.published = true,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system("publish", &self.folder)(errno)),
        }
        sandgate_domain::fail_point::reached("layer.published");
        if durability == Durability::Synced {
            rustix::fs::fsync(layers).map_err(Error::system("sync", &self.folder))?;
        }
        self.store.get(self.id)?.ok_or(Error::LayerMissing(self.id))
    }

    /// Whether a directory to fill is there already: left by a seal that was cut short.
    pub(super) fn has_diff(&self) -> bool {
        self.path().is_dir()
    }

    /// Moves a finished directory in as the root of the layer.
    pub(super) fn adopt(&self, upper: &Path) -> Result<(), Error> {
        fs::rename(upper, self.path()).map_err(Error::io("move", upper))
    }

    /// Whether nothing of the layers below shows.
    pub(super) fn set_whole(&mut self, whole: bool) {
        self.whole = whole;
    }

    /// Keeps the unfinished layer for a later attempt.
    pub(super) fn keep(&mut self) {
        self.published = true;
    }
}

impl Drop for LayerBuild<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What can't be removed now has a temporary name and falls to the next sweep.
            let _ = super::remove_tree(
                self.store.layers_handle().as_fd(),
                &c_name(&format!(".new-{}", self.id)),
            );
        }
    }
}
