//! Pull requests: what is known of each as JSON, beside the few columns that they are found by.

mod heads;

use sandgate_domain::{PullRequestId, RunId, TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::page::{Page, PageRequest};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{JSON, NAME, PATH, bounded, integer};

pub use heads::PullRequestHead;

/// The pull requests of a tenant.
#[derive(Debug, Clone)]
pub struct PullRequests {
    session: Session,
    tenant: TenantId,
}

/// A pull request as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPullRequest {
    /// Its id.
    pub id: PullRequestId,
    /// Equal for all spellings of its repository's name.
    pub repository_key: String,
    /// The repository's name.
    pub repository: String,
    /// Its number there.
    pub number: u64,
    /// What is known of it, as JSON.
    pub state: String,
    /// Counts what was asked for.
    pub revision: u64,
    /// The newest commit.
    pub head_sha: String,
    /// The branch it comes from.
    pub head_branch: String,
    /// Whether it is open.
    pub is_open: bool,
    /// The last revision with a run, or with the reason why it has none.
    pub answered_revision: u64,
    /// The run of that revision.
    pub run: Option<RunId>,
    /// Whether all that is to be said about the present revision is planned.
    pub is_settled: bool,
    /// Not before this time it is looked at again, while something is left to be said.
    pub sweep_at: Timestamp,
    /// How often its present revision was asked for again.
    pub times_asked: u32,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which pull requests to list.
#[derive(Debug, Clone, Default)]
pub struct PullRequestFilter {
    /// Those of this repository.
    pub repository_key: Option<String>,
    /// Only open ones, or only closed ones.
    pub is_open: Option<bool>,
}

impl PullRequests {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Writes one down as it is now. Load and save it in one transaction.
    pub async fn save(&self, pull: &StoredPullRequest) -> Result<(), Error> {
        const DOING: &str = "writing a pull request down";
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query(
            "INSERT INTO pull_requests (tenant_id, id, repository_key, repository, number, state, \
             revision, head_sha, head_branch, is_open, answered_revision, run_id, is_settled, \
             created_at, updated_at, sweep_at, times_asked) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
             ON CONFLICT (tenant_id, id) DO UPDATE SET state = excluded.state, \
             revision = excluded.revision, head_sha = excluded.head_sha, \
             head_branch = excluded.head_branch, is_open = excluded.is_open, \
             answered_revision = excluded.answered_revision, run_id = excluded.run_id, \
             is_settled = excluded.is_settled, updated_at = excluded.updated_at, \
             sweep_at = excluded.sweep_at, times_asked = excluded.times_asked",
        )
        .bind(self.tenant.as_str())
        .bind(pull.id.to_string())
        .bind(bounded("repository key", &pull.repository_key, NAME)?)
        .bind(bounded("repository", &pull.repository, NAME)?)
        .bind(integer("number", pull.number)?)
        .bind(bounded("state", &pull.state, JSON)?)
        .bind(integer("revision", pull.revision)?)
        .bind(bounded("head sha", &pull.head_sha, NAME)?)
        .bind(bounded("head branch", &pull.head_branch, PATH)?)
        .bind(i64::from(pull.is_open))
        .bind(integer("answered revision", pull.answered_revision)?)
        .bind(pull.run.map(|run| run.to_string()))
        .bind(i64::from(pull.is_settled))
        .bind(pull.created_at.as_micros())
        .bind(pull.updated_at.as_micros())
        .bind(pull.sweep_at.as_micros())
        .bind(i64::from(pull.times_asked))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// One by its id.
    pub async fn get(&self, id: PullRequestId) -> Result<Option<StoredPullRequest>, Error> {
        const DOING: &str = "reading a pull request";
        let row = sqlx::query("SELECT * FROM pull_requests WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(&mut *self.session.read(DOING).await?)
            .await
            .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// One by its repository and number.
    pub async fn find(
        &self,
        repository_key: &str,
        number: u64,
    ) -> Result<Option<StoredPullRequest>, Error> {
        const DOING: &str = "looking a pull request up";
        let row = sqlx::query(
            "SELECT * FROM pull_requests WHERE tenant_id = $1 AND repository_key = $2 \
             AND number = $3",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .bind(integer("number", number)?)
        .fetch_optional(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// The open pull request from a branch.
    pub async fn open_from(
        &self,
        repository_key: &str,
        head_branch: &str,
    ) -> Result<Option<StoredPullRequest>, Error> {
        const DOING: &str = "looking an open pull request up";
        let row = sqlx::query(
            "SELECT * FROM pull_requests WHERE tenant_id = $1 AND repository_key = $2 \
             AND head_branch = $3 AND is_open = 1 ORDER BY number LIMIT 1",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .bind(head_branch)
        .fetch_optional(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// The number after the greatest of a repository.
    pub async fn next_number(&self, repository_key: &str) -> Result<u64, Error> {
        const DOING: &str = "numbering a pull request";
        let row = sqlx::query(
            "SELECT COALESCE(MAX(number), 0) + 1 AS next FROM pull_requests \
             WHERE tenant_id = $1 AND repository_key = $2",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .fetch_one(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        Columns::of("pull_requests", &row).number("next")
    }

    /// Pull requests, the newest first.
    pub async fn list(
        &self,
        filter: &PullRequestFilter,
        request: &PageRequest,
    ) -> Result<Page<StoredPullRequest>, Error> {
        const DOING: &str = "listing pull requests";
        let (created_at, id) = request.boundary();
        let rows = sqlx::query(
            "SELECT * FROM pull_requests WHERE tenant_id = $1 \
             AND (CAST($2 AS TEXT) IS NULL OR repository_key = $2) \
             AND (CAST($3 AS BIGINT) IS NULL OR is_open = $3) \
             AND (created_at, id) < ($4, $5) ORDER BY created_at DESC, id DESC LIMIT $6",
        )
        .bind(self.tenant.as_str())
        .bind(filter.repository_key.as_deref())
        .bind(filter.is_open.map(i64::from))
        .bind(created_at)
        .bind(id)
        .bind(request.fetch_limit())
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        let pulls = rows.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::of(pulls, request, |pull| (pull.created_at, pull.id.to_string())))
    }

    /// Those about which something is left to be said, whose time to be looked at has come and that did not change after
    /// `before`; who waits the longest first. [`look_again`](Self::look_again) moves one to the end.
    pub async fn unsettled(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredPullRequest>, Error> {
        const DOING: &str = "listing unsettled pull requests";
        let rows = sqlx::query(
            "SELECT * FROM pull_requests WHERE tenant_id = $1 AND is_settled = 0 \
             AND updated_at <= $2 AND sweep_at <= $3 ORDER BY sweep_at, updated_at, id LIMIT $4",
        )
        .bind(self.tenant.as_str())
        .bind(before.as_micros())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// One is not to be looked at before `at`, unless that is said of a later time already.
    pub async fn look_again(&self, id: PullRequestId, at: Timestamp) -> Result<(), Error> {
        const DOING: &str = "putting a pull request off";
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query(
            "UPDATE pull_requests SET sweep_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND sweep_at < $3",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// Whether this commit is the head of a pull request now.
    pub async fn is_present_head(&self, repository_key: &str, sha: &str) -> Result<bool, Error> {
        const DOING: &str = "looking a head up";
        let found = sqlx::query(
            "SELECT 1 FROM pull_requests WHERE tenant_id = $1 AND repository_key = $2 \
             AND head_sha = $3 LIMIT 1",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .bind(sha)
        .fetch_optional(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        Ok(found.is_some())
    }
}

fn read(row: &SqliteRow) -> Result<StoredPullRequest, Error> {
    let columns = Columns::of("pull_requests", row);
    Ok(StoredPullRequest {
        id: columns.parsed("id")?,
        repository_key: columns.text("repository_key")?,
        repository: columns.text("repository")?,
        number: columns.number("number")?,
        state: columns.text("state")?,
        revision: columns.number("revision")?,
        head_sha: columns.text("head_sha")?,
        head_branch: columns.text("head_branch")?,
        is_open: columns.flag("is_open")?,
        answered_revision: columns.number("answered_revision")?,
        run: columns.parsed_option("run_id")?,
        is_settled: columns.flag("is_settled")?,
        sweep_at: columns.time("sweep_at")?,
        times_asked: columns.number("times_asked")?,
        created_at: columns.time("created_at")?,
        updated_at: columns.time("updated_at")?,
    })
}
