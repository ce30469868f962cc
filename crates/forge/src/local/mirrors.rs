//! The folder of all mirrors: add, find, list, remove.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::fetch::survey;
use super::git::Git;
use super::mirror::Mirror;
use crate::error::{Error, Result};
use crate::names::{BranchName, RepositoryName};

const RECORD: &str = "sandgate.json";
const UNFINISHED: &str = ".new-";
const REMOVED: &str = ".old-";

/// What is written beside a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorRecord {
    /// The name, in the spelling it was added under.
    pub name: RepositoryName,
    /// The absolute path that it is mirrored from.
    pub source: PathBuf,
    /// The branch that the source's HEAD named when it was added; else its `main` or `master`.
    pub default_branch: Option<BranchName>,
}

type Locks = Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>;

/// All mirrors below one folder, which belongs to this process alone.
#[derive(Debug, Clone)]
pub struct Mirrors {
    folder: PathBuf,
    git: Git,
    locks: Locks,
}

impl Mirrors {
    /// Opens (or makes) the folder and removes what a crash left half done.
    pub fn open(folder: &Path, git: Git) -> Result<Self> {
        let failed = |operation| io_error(operation, folder);
        std::fs::create_dir_all(folder).map_err(failed("create the folder"))?;
        let canonical = folder.canonicalize().map_err(failed("find the folder"))?;
        for entry in std::fs::read_dir(&canonical).map_err(failed("list the folder"))? {
            let entry = entry.map_err(failed("list the folder"))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) || name.starts_with(REMOVED) {
                let leftover = entry.path();
                std::fs::remove_dir_all(&leftover)
                    .map_err(io_error("remove the unfinished mirror", &leftover))?;
            }
        }
        Ok(Self { folder: canonical, git, locks: Locks::default() })
    }

    /// Mirrors the repository (bare, or with a checkout) that lies at `source`, with all its branches.
    pub async fn add(&self, name: &RepositoryName, source: &Path) -> Result<Mirror> {
        if let Ok(known) = self.get(name) {
            return Err(exists(known));
        }
        let source = self.check_source(source)?;
        let survey = survey(&self.git, &source).await?;
        let record =
            MirrorRecord { name: name.clone(), source, default_branch: survey.default_branch };
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.folder)
            .map_err(io_error("create a folder in", &self.folder))?;
        let bare = unfinished.path().join("mirror");
        self.initialise(&bare, survey.object_format, &record).await?;
        let lock = Arc::default();
        Mirror::new(bare.clone(), record, self.git.clone(), lock).fetch_branches().await?;

        let place = self.place(name);
        let owner = place.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(owner).map_err(io_error("create the folder", owner))?;
        match std::fs::rename(&bare, &place) {
            Ok(()) => self.get(name),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                Err(exists(self.get(name)?))
            }
            Err(error) => Err(io_error("create the mirror", &place)(error)),
        }
    }

    /// The mirror of a repository, found under any spelling of its name.
    pub fn get(&self, name: &RepositoryName) -> Result<Mirror> {
        let place = self.place(name);
        let record =
            read_record(&place)?.ok_or_else(|| Error::UnknownRepository { name: name.clone() })?;
        let lock = self.lock_of(&name.key(), &place)?;
        Ok(Mirror::new(place, record, self.git.clone(), lock))
    }

    /// Every mirror's record, by name.
    pub fn list(&self) -> Result<Vec<MirrorRecord>> {
        let mut records = Vec::new();
        for owner in folders_in(&self.folder)? {
            for place in folders_in(&owner)? {
                records.extend(read_record(&place)?);
            }
        }
        records.sort_by_key(|record| record.name.key());
        Ok(records)
    }

    /// Forgets a repository: its mirror goes, the source stays untouched.
    pub async fn remove(&self, name: &RepositoryName) -> Result<()> {
        let mirror = self.get(name)?;
        let _writing = mirror.lock().await;
        let removed = tempfile::Builder::new()
            .prefix(REMOVED)
            .tempdir_in(&self.folder)
            .map_err(io_error("create a folder in", &self.folder))?;
        let target = removed.path().join("mirror");
        std::fs::rename(mirror.path(), target)
            .map_err(io_error("remove the mirror", mirror.path()))?;
        let folder = removed.path().to_owned();
        tokio::task::spawn_blocking(move || removed.close())
            .await
            .map_err(|panic| io_error("remove the folder", &folder)(panic.into()))?
            .map_err(io_error("remove the folder", &folder))
    }

    /// The one lock of a mirror's writers. Who is first in this process removes what a lost machine left locked.
    fn lock_of(&self, key: &str, place: &Path) -> Result<Arc<tokio::sync::Mutex<()>>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = locks.get(key) {
            return Ok(Arc::clone(known));
        }
        remove_leftovers(place)?;
        let lock = Arc::default();
        locks.insert(key.to_owned(), Arc::clone(&lock));
        Ok(lock)
    }

    fn place(&self, name: &RepositoryName) -> PathBuf {
        let key = name.key();
        let (owner, repository) = key.split_once('/').unwrap_or(("", &key));
        self.folder.join(owner).join(format!("{repository}.git"))
    }

    fn check_source(&self, source: &Path) -> Result<PathBuf> {
        let refused = || Error::NotARepository { path: source.to_owned() };
        let canonical = source.canonicalize().map_err(|_| refused())?;
        // A regular file could be a bundle, which git reads as a repository too; and the record is JSON text.
        let is_usable = canonical.is_dir() && canonical.to_str().is_some();
        if is_usable { Ok(canonical) } else { Err(refused()) }
    }

    async fn initialise(&self, bare: &Path, format: &str, record: &MirrorRecord) -> Result<()> {
        self.git
            .call("create a mirror")
            .arguments(["init", "--quiet", "--bare", "--template="])
            .argument(format!("--object-format={format}"))
            .argument("--end-of-options")
            .argument(bare)
            .run()
            .await?;
        // A branch that no name of ours can be: git takes merge attributes from the branch that HEAD names.
        let head = bare.join("HEAD");
        std::fs::write(&head, "ref: refs/heads/HEAD\n").map_err(io_error("write", &head))?;
        let file = bare.join(RECORD);
        let text = serde_json::to_vec_pretty(record)
            .map_err(|source| Error::BadRecord { path: bare.to_owned(), source })?;
        std::fs::write(&file, text).map_err(io_error("write", &file))
    }
}

fn exists(known: Mirror) -> Error {
    let record = known.record();
    Error::Exists { name: record.name.clone(), source_path: record.source.clone() }
}

fn read_record(place: &Path) -> Result<Option<MirrorRecord>> {
    let file = place.join(RECORD);
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io_error("read", &file)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::BadRecord { path: place.to_owned(), source })
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error("list the folder", folder))? {
        let path = entry.map_err(io_error("list the folder", folder))?.path();
        let is_ours = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            !name.starts_with(UNFINISHED) && !name.starts_with(REMOVED)
        });
        if is_ours && path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Removes locks and half-written packs of a git that did not live to do it.
fn remove_leftovers(place: &Path) -> Result<()> {
    let is_lock = |name: &str| name.ends_with(".lock");
    let is_half_pack = |name: &str| name.starts_with("tmp_");
    remove_files(place, false, &is_lock)?;
    remove_files(&place.join("refs"), true, &is_lock)?;
    remove_files(&place.join("objects/pack"), false, &is_half_pack)
}

fn remove_files(top: &Path, is_deep: bool, is_leftover: &dyn Fn(&str) -> bool) -> Result<()> {
    let mut open = vec![top.to_owned()];
    while let Some(folder) = open.pop() {
        let failed = io_error("tidy up", &folder);
        for entry in std::fs::read_dir(&folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let kind = entry.file_type().map_err(&failed)?;
            if kind.is_dir() && is_deep {
                open.push(entry.path());
            } else if kind.is_file() && is_leftover(&entry.file_name().to_string_lossy()) {
                std::fs::remove_file(entry.path()).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

/// Names an I/O failure.
pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl Fn(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { operation, path: path.clone(), source }
}
