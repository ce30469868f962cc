//! The heads that pull requests ever had. A commit keeps the trust that it came with, also after its pull request moved on:
//! these rows are never removed.

use sandgate_domain::{PullRequestId, Timestamp, TrustTier};
use sqlx::sqlite::SqliteRow;

use super::PullRequests;
use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::text::{NAME, bounded};

const NOTE: &str = "INSERT INTO pull_request_heads \
    (tenant_id, repository_key, sha, pull_request_id, tier, is_approved, seen_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
const SET: &str = "INSERT INTO pull_request_heads \
    (tenant_id, repository_key, sha, pull_request_id, tier, is_approved, seen_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (tenant_id, repository_key, sha, pull_request_id) DO UPDATE SET \
    tier = excluded.tier, is_approved = \
    CASE WHEN pull_request_heads.is_approved = 1 THEN 1 ELSE excluded.is_approved END";

/// One head of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestHead {
    /// The pull request.
    pub pull_request: PullRequestId,
    /// Equal for all spellings of its repository's name.
    pub repository_key: String,
    /// The commit.
    pub sha: String,
    /// How far it is trusted.
    pub tier: TrustTier,
    /// Whether somebody looked at exactly this commit and let it run.
    pub is_approved: bool,
}

impl PullRequests {
    /// Notes a head that an event tells of; what is known of it already stays.
    pub async fn note_head(&self, head: &PullRequestHead, now: Timestamp) -> Result<(), Error> {
        self.write_head(head, NOTE, now).await
    }

    /// Notes the present head and its trust. An approval stays: it was of exactly this commit.
    pub async fn set_head(&self, head: &PullRequestHead, now: Timestamp) -> Result<(), Error> {
        self.write_head(head, SET, now).await
    }

    async fn write_head(
        &self,
        head: &PullRequestHead,
        sql: &'static str,
        now: Timestamp,
    ) -> Result<(), Error> {
        const DOING: &str = "noting a head";
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query(sql)
            .bind(self.tenant.as_str())
            .bind(bounded("repository key", &head.repository_key, NAME)?)
            .bind(bounded("head sha", &head.sha, NAME)?)
            .bind(head.pull_request.to_string())
            .bind(head.tier.as_str())
            .bind(i64::from(head.is_approved))
            .bind(now.as_micros())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// The pull requests that had this commit as their head.
    pub async fn heads_at(
        &self,
        repository_key: &str,
        sha: &str,
    ) -> Result<Vec<PullRequestHead>, Error> {
        const DOING: &str = "looking up whose head a commit is";
        let rows = sqlx::query(
            "SELECT * FROM pull_request_heads WHERE tenant_id = $1 AND repository_key = $2 \
             AND sha = $3 ORDER BY pull_request_id",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .bind(sha)
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// The heads of a repository, the newest first; at most `limit`.
    pub async fn newest_heads(
        &self,
        repository_key: &str,
        limit: u32,
    ) -> Result<Vec<PullRequestHead>, Error> {
        const DOING: &str = "listing heads";
        let rows = sqlx::query(
            "SELECT * FROM pull_request_heads WHERE tenant_id = $1 AND repository_key = $2 \
             ORDER BY seen_at DESC, sha LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(repository_key)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<PullRequestHead, Error> {
    let columns = Columns::of("pull_request_heads", row);
    Ok(PullRequestHead {
        pull_request: columns.parsed("pull_request_id")?,
        repository_key: columns.text("repository_key")?,
        sha: columns.text("sha")?,
        tier: columns.parsed("tier")?,
        is_approved: columns.flag("is_approved")?,
    })
}
