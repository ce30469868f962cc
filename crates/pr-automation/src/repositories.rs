//! Repositories that are made known, each with its mirror.

use std::path::Path;

use sandgate_forge::RepositoryName;
use sandgate_store::KnownRepository;

use crate::Error;
use crate::service::Core;

impl Core {
    /// Makes a repository on this machine known and mirrors it.
    pub(crate) async fn add_repository(
        &self,
        name: &RepositoryName,
        path: &str,
    ) -> Result<KnownRepository, Error> {
        if path.contains("://") || path.starts_with("git@") {
            return Err(Error::RemoteRepository { address: path.to_owned() });
        }
        let folder = absolute(path)?;
        let known = self.store.known_repositories(&self.settings.tenant);
        if known.get(&name.key()).await?.is_none() && self.mirrors.get(name).is_ok() {
            // A mirror that was made, and whose repository was never written down or was forgotten.
            self.mirrors.remove(name).await?;
        }
        let mirror = self.mirrors.add(name, folder).await?;
        let record = mirror.record();
        let repository = KnownRepository {
            key: name.key(),
            name: name.to_string(),
            path: record.source.to_string_lossy().into_owned(),
            default_branch: record.default_branch.as_ref().map(ToString::to_string),
            added_at: self.clock.now(),
        };
        known.add(&repository).await?;
        Ok(repository)
    }

    /// All known repositories, by name.
    pub(crate) async fn list_repositories(&self) -> Result<Vec<KnownRepository>, Error> {
        Ok(self.store.known_repositories(&self.settings.tenant).list().await?)
    }

    /// Forgets a repository; its folder stays as it is, and so do the records of its pull requests.
    pub(crate) async fn remove_repository(&self, name: &RepositoryName) -> Result<(), Error> {
        let known = self.store.known_repositories(&self.settings.tenant);
        if !known.remove(&name.key()).await? {
            return Err(Error::UnknownRepository { name: name.clone() });
        }
        Ok(self.mirrors.remove(name).await?)
    }

    /// A repository that must be known.
    pub(crate) async fn repository(&self, name: &RepositoryName) -> Result<KnownRepository, Error> {
        let known = self.store.known_repositories(&self.settings.tenant);
        let found = known.get(&name.key()).await?;
        found.ok_or_else(|| Error::UnknownRepository { name: name.clone() })
    }
}

/// A path that does not depend on where the server runs.
pub(crate) fn absolute(path: &str) -> Result<&Path, Error> {
    let folder = Path::new(path);
    if folder.is_absolute() && !path.contains('\0') {
        Ok(folder)
    } else {
        Err(Error::RelativePath { path: path.chars().take(200).collect() })
    }
}
