//! Removes what crashes left behind.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{Dir, FlockOperation, flock};
use rustix::io::Errno;
use sandgate_domain::{LayerId, SandboxId};

use super::record::Record;
use super::store::{LayerStore, c_name, retire};
use crate::Error;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Whether other processes have the store open; then nothing was touched.
    pub shared: bool,
    /// Entries removed.
    pub removed: usize,
    /// Known layers that did not survive the last restart of the machine; their rows are to be dropped.
    pub lost: Vec<LayerId>,
}

impl LayerStore {
    /// Removes all layers but `known`, all writable layers but `live`, and everything half made except the seal of a known
    /// layer that was cut short. Both sets must have been read after this process opened the store. Does nothing while
    /// another process has the store open, because that one may be making what we don't know yet.
    pub fn sweep(
        &self,
        known: &HashSet<LayerId>,
        live: &HashSet<SandboxId>,
    ) -> Result<Swept, Error> {
        match flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Swept { shared: true, ..Swept::default() }),
            Err(errno) => return Err(Error::system("lock", "lock")(errno)),
        }
        let swept = self.sweep_alone(known, live);
        flock(&self.lock, FlockOperation::LockShared).map_err(Error::system("lock", "lock"))?;
        swept
    }

    fn sweep_alone(
        &self,
        known: &HashSet<LayerId>,
        live: &HashSet<SandboxId>,
    ) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for name in names(self.layers_handle())? {
            let keep = if let Some(started) = name.strip_prefix(".new-") {
                started.parse().is_ok_and(|id| known.contains(&id))
            } else {
                self.keeps_layer(&name, known, &mut swept)
            };
            if !keep {
                discard(self.layers_handle(), &name)?;
                swept.removed += 1;
            }
        }
        for name in names(self.scratch_handle())? {
            if !name.parse().is_ok_and(|id| live.contains(&id)) {
                discard(self.scratch_handle(), &name)?;
                swept.removed += 1;
            }
        }
        Ok(swept)
    }

    fn keeps_layer(&self, name: &str, known: &HashSet<LayerId>, swept: &mut Swept) -> bool {
        let Ok(id) = name.parse::<LayerId>() else { return false };
        if !known.contains(&id) {
            return false;
        }
        // A known layer with a broken record stays: whoever uses it must be told that it is corrupt.
        let of_other_boot = Record::read(id, &self.layer_folder(id)).is_ok_and(|record| {
            record.and_then(|record| record.unsynced_boot).is_some_and(|boot| boot != self.boot())
        });
        if of_other_boot {
            swept.lost.push(id);
        }
        !of_other_boot
    }
}

fn discard(folder: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    if name.starts_with('.') {
        super::remove_tree(folder, &c_name(name))
    } else {
        retire(folder, name)
    }
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(Error::system("list", "."))? {
        let entry = entry.map_err(Error::system("list", "."))?;
        let name: &CStr = entry.file_name();
        // Names that are no text are not ours; nobody else writes here.
        if let Ok(name) = name.to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
