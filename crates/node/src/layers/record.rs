//! What the store knows about a layer, kept beside its files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sandgate_domain::LayerId;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A sealed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its id.
    pub id: LayerId,
    /// The directory to stack.
    pub path: PathBuf,
    /// The sizes of its files together, in bytes.
    pub bytes: u64,
    /// Its files, directories and links, without the root.
    pub files: u64,
    /// Whether it holds everything: nothing of the layers below it shows.
    pub whole: bool,
}

/// The file `record.json` of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    pub bytes: u64,
    pub files: u64,
    /// The boot in which it was written without waiting for the disk; `None` if it was synced.
    pub unsynced_boot: Option<String>,
    /// Whether nothing of the layers below it shows. Said here, as not every file system has the attribute for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

const NAME: &str = "record.json";
const LIMIT: u64 = 4096;

impl Record {
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        file.write_all(&text).map_err(Error::io("write", &path))
    }

    /// Puts this record in the place of the one that is there; after a crash it is one or the other.
    pub(super) fn replace(&self, folder: &Path) -> Result<(), Error> {
        let fresh = folder.join(format!(".new-{NAME}"));
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::io("write", &fresh)(std::io::Error::other(error)))?;
        let mut file = File::create(&fresh).map_err(Error::io("create", &fresh))?;
        file.write_all(&text).map_err(Error::io("write", &fresh))?;
        file.sync_all().map_err(Error::io("sync", &fresh))?;
        std::fs::rename(&fresh, folder.join(NAME)).map_err(Error::io("rename", &fresh))
    }

    /// The record in `folder`; `None` if there is no such folder.
    pub(super) fn read(id: LayerId, folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !folder.exists() => {
                return Ok(None);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(corrupt(id, "its record is missing"));
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text).map_err(Error::io("read", &path))?;
        let record =
            serde_json::from_slice(&text).map_err(|_| corrupt(id, "its record is unreadable"))?;
        Ok(Some(record))
    }
}

fn corrupt(layer: LayerId, what: &str) -> Error {
    Error::Corrupt { layer, what: what.to_owned() }
}
