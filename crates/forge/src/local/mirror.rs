//! One mirror: where it is, and the lock that its writers take.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sandgate_objects::{Commit, Objects};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::git::{Answer, Call, Git};
use super::mirrors::{MirrorRecord, io_error};
use crate::error::{Error, Result};
use crate::names::{BranchName, CommitId, RepositoryName};

/// A mirror of one repository. Cheap to clone; reads run side by side, writes one after the other.
#[derive(Debug, Clone)]
pub struct Mirror {
    place: PathBuf,
    record: Arc<MirrorRecord>,
    git: Git,
    writing: Arc<Mutex<()>>,
}

impl Mirror {
    pub(super) fn new(
        place: PathBuf,
        record: MirrorRecord,
        git: Git,
        writing: Arc<Mutex<()>>,
    ) -> Self {
        Self { place, record: Arc::new(record), git, writing }
    }

    /// The bare repository on disk: to be read, with git's configuration shut out.
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Its name, source and default branch.
    pub fn record(&self) -> &MirrorRecord {
        &self.record
    }

    /// Its name.
    pub fn name(&self) -> &RepositoryName {
        &self.record.name
    }

    /// The branch that pull requests go into when they name no other.
    pub fn default_branch(&self) -> Option<&BranchName> {
        self.record.default_branch.as_ref()
    }

    pub(super) async fn lock(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.writing).lock_owned().await
    }

    pub(super) fn call(&self, operation: &'static str) -> Call<'_> {
        self.git.call_in(&self.place, operation)
    }

    /// Does something with the objects of this mirror, where it may wait.
    pub(super) async fn with_objects<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &Objects) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mirror = self.clone();
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || work(&mirror, &mirror.git.objects(&mirror.place)?))
            .await
            .map_err(|panic| io_error("read objects of", &place)(panic.into()))?
    }

    /// A commit that has to be here.
    pub(super) fn read_commit(&self, objects: &Objects, commit: &CommitId) -> Result<Arc<Commit>> {
        match objects.commit(commit.id()?) {
            Ok(found) => Ok(found),
            Err(
                sandgate_objects::Error::Missing { .. } | sandgate_objects::Error::OtherKind { .. },
            ) => Err(self.missing(commit)),
            Err(error) => Err(error.into()),
        }
    }

    /// What a reference names, if it lies in a file of its own: a cheap look, not the last word.
    pub(super) fn read_reference(&self, reference: &str) -> Option<CommitId> {
        let text = std::fs::read_to_string(self.place.join(reference)).ok()?;
        text.trim_end().parse().ok()
    }

    /// Sets one of our own references, as git does it but without a process: these are on the way to every gate. The
    /// file is on the disk before it has its name, for an empty reference would break every later fetch.
    pub(super) fn write_reference(&self, reference: &str, commit: &CommitId) -> Result<()> {
        let target = self.place.join(reference);
        let folder = target.parent().unwrap_or(&self.place);
        std::fs::create_dir_all(folder).map_err(io_error("create the folder", folder))?;
        let failed = io_error("write the reference", &target);
        let mut file =
            tempfile::Builder::new().suffix(".lock").tempfile_in(&self.place).map_err(&failed)?;
        file.write_all(format!("{commit}\n").as_bytes()).map_err(&failed)?;
        file.as_file().sync_data().map_err(&failed)?;
        file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(())
    }

    pub(super) fn missing(&self, commit: &CommitId) -> Error {
        Error::MissingCommit { repository: self.name().clone(), commit: commit.clone() }
    }

    /// The failure of a call that names `commit`.
    pub(super) fn failure_at(
        &self,
        commit: &CommitId,
        operation: &'static str,
        answer: Answer,
    ) -> Error {
        let is_missing = [
            "Not a valid object name",
            "Not a valid commit name",
            "not a tree object",
            "bad object",
        ]
        .iter()
        .any(|sign| answer.says(sign));
        if is_missing { self.missing(commit) } else { answer.into_error(operation) }
    }
}
