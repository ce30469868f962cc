//! The source repositories that were made known here.

use sandgate_domain::{TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{NAME, PATH, bounded, bounded_option};

/// The known repositories of a tenant.
#[derive(Debug, Clone)]
pub struct KnownRepositories {
    session: Session,
    tenant: TenantId,
}

/// A repository that was made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRepository {
    /// Equal for all spellings of its name.
    pub key: String,
    /// Its name, as it was added.
    pub name: String,
    /// Where it lies.
    pub path: String,
    /// The branch that pull requests go into when they name no other.
    pub default_branch: Option<String>,
    /// Since when it is known.
    pub added_at: Timestamp,
}

impl KnownRepositories {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Makes one known. False if its key is known.
    pub async fn add(&self, repository: &KnownRepository) -> Result<bool, Error> {
        const DOING: &str = "making a repository known";
        let mut transaction = self.session.write(DOING).await?;
        let inserted = sqlx::query(
            "INSERT INTO repositories (tenant_id, repository_key, name, path, default_branch, \
             added_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("repository key", &repository.key, NAME)?)
        .bind(bounded("repository", &repository.name, NAME)?)
        .bind(bounded("path", &repository.path, PATH)?)
        .bind(bounded_option("branch", repository.default_branch.as_deref(), PATH)?)
        .bind(repository.added_at.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(inserted.rows_affected() > 0)
    }

    /// One repository, by its key.
    pub async fn get(&self, key: &str) -> Result<Option<KnownRepository>, Error> {
        const DOING: &str = "looking a repository up";
        let row =
            sqlx::query("SELECT * FROM repositories WHERE tenant_id = $1 AND repository_key = $2")
                .bind(self.tenant.as_str())
                .bind(key)
                .fetch_optional(&mut *self.session.read(DOING).await?)
                .await
                .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// All of them, by name.
    pub async fn list(&self) -> Result<Vec<KnownRepository>, Error> {
        const DOING: &str = "listing repositories";
        let rows =
            sqlx::query("SELECT * FROM repositories WHERE tenant_id = $1 ORDER BY repository_key")
                .bind(self.tenant.as_str())
                .fetch_all(&mut *self.session.read(DOING).await?)
                .await
                .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// Forgets one. False if it was not known.
    pub async fn remove(&self, key: &str) -> Result<bool, Error> {
        const DOING: &str = "forgetting a repository";
        let mut transaction = self.session.write(DOING).await?;
        let deleted =
            sqlx::query("DELETE FROM repositories WHERE tenant_id = $1 AND repository_key = $2")
                .bind(self.tenant.as_str())
                .bind(key)
                .execute(&mut *transaction)
                .await
                .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected() > 0)
    }
}

fn read(row: &SqliteRow) -> Result<KnownRepository, Error> {
    let columns = Columns::of("repositories", row);
    Ok(KnownRepository {
        key: columns.text("repository_key")?,
        name: columns.text("name")?,
        path: columns.text("path")?,
        default_branch: columns.text_option("default_branch")?,
        added_at: columns.time("added_at")?,
    })
}
