//! The list of running servers of a user: one small file each, locked for as long as its server lives.
//!
//! Whether a record is stale is asked of the lock and not of the process id: the lock goes with the process, also after a
//! kill, and it holds across process namespaces and restarts of the machine, where ids are used again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sandgate_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The folder of the records, below the state folder of the user.
const FOLDER: &str = "servers";
/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024;
/// The most records that are looked at.
const MAX_RECORDS: usize = 1000;

/// Where a server is and what opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerRecord {
    /// Where it answers HTTP.
    pub address: SocketAddr,
    /// Where it answers gRPC.
    pub grpc_address: SocketAddr,
    /// The file with its token.
    pub token_path: PathBuf,
    /// The folder that it holds; absolute.
    pub data_dir: PathBuf,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
}

/// The record of this process; removed when dropped.
#[derive(Debug)]
pub struct RunningServer {
    path: PathBuf,
    /// Holds the lock that says "alive".
    _lock: File,
}

impl RunningServer {
    /// Writes the record, so that commands of the same user find this server.
    ///
    /// # Errors
    /// If the folder or the file can't be written.
    pub fn announce(state_folder: &Path, record: &ServerRecord) -> Result<Self, Error> {
        let folder = state_folder.join(FOLDER);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(Error::file("make the folder", &folder))?;
        let name = format!("{}-{}", record.pid, record.started.as_micros());
        let path = folder.join(format!("{name}.json"));
        let draft = folder.join(format!(".{name}"));
        let lock = write(&draft, record).map_err(Error::file("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(Error::file("write", &path))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(
                record.path = %self.path.display(),
                error = %error,
                "can't remove the record of this server; the next command does it"
            );
        }
    }
}

fn write(path: &Path, record: &ServerRecord) -> std::io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    Ok(file)
}

/// The records of servers that run. Those of servers that don't are removed.
///
/// # Errors
/// If the folder can't be read.
pub(super) fn running(state_folder: &Path) -> Result<Vec<ServerRecord>, Error> {
    let folder = state_folder.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read the folder", &folder)(error)),
    };
    let mut records = Vec::new();
    for entry in entries.take(MAX_RECORDS) {
        let path = entry.map_err(Error::file("read the folder", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            records.extend(read(&path)?);
        }
    }
    records.sort_by_key(|record| record.started);
    Ok(records)
}

fn read(path: &Path) -> Result<Option<ServerRecord>, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Its server stopped in this moment.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            remove_stale(path);
            return Ok(None);
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(errno) => return Err(Error::file("lock", path)(errno.into())),
    }
    let mut text = Vec::new();
    Read::by_ref(&mut file)
        .take(MAX_RECORD)
        .read_to_end(&mut text)
        .map_err(Error::file("read", path))?;
    match serde_json::from_slice(&text) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            tracing::warn!(record.path = %path.display(), error = %error, "left out a record that is not understood");
            Ok(None)
        }
    }
}

fn remove_stale(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::debug!(record.path = %path.display(), error = %error, "can't remove a stale record");
        }
        _ => {}
    }
}
