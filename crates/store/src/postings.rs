//! What is shown under pull requests: checks of a commit and the comment, each in a slot of its own.
//!
//! A slot knows what is *wanted* last and what is *written*. Wanting the same again changes nothing; writing an older
//! version than the slot has changes nothing. So effects may run twice and in any order.

use sandgate_domain::{TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{JSON, NAME, PATH, bounded, integer};

/// The postings of a tenant.
#[derive(Debug, Clone)]
pub struct Postings {
    session: Session,
    tenant: TenantId,
}

/// What a slot shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// Its slot.
    pub slot: String,
    /// How often it was written anew.
    pub version: u64,
    /// What is shown.
    pub content: String,
    /// Since when.
    pub written_at: Timestamp,
}

impl Postings {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Wants a content, known by its digest, in a slot: the version to write, or none if it was wanted last already.
    pub async fn want(&self, target: &str, slot: &str, digest: &str) -> Result<Option<u64>, Error> {
        const DOING: &str = "wanting a posting";
        let mut transaction = self.session.write(DOING).await?;
        let row = sqlx::query(
            "INSERT INTO postings (tenant_id, target, slot, wanted_digest, wanted_version, version) \
             VALUES ($1, $2, $3, $4, 1, 0) ON CONFLICT (tenant_id, target, slot) DO UPDATE \
             SET wanted_digest = excluded.wanted_digest, \
             wanted_version = postings.wanted_version + 1 \
             WHERE postings.wanted_digest <> excluded.wanted_digest RETURNING wanted_version",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("target", target, PATH)?)
        .bind(bounded("slot", slot, NAME)?)
        .bind(bounded("digest", digest, NAME)?)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        row.map(|row| Columns::of("postings", &row).number("wanted_version")).transpose()
    }

    /// Shows a version. False if the slot shows this one or a newer one, or was never wanted.
    pub async fn write(
        &self,
        target: &str,
        slot: &str,
        version: u64,
        content: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "writing a posting";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE postings SET version = $4, content = $5, written_at = $6 \
             WHERE tenant_id = $1 AND target = $2 AND slot = $3 AND version < $4",
        )
        .bind(self.tenant.as_str())
        .bind(target)
        .bind(slot)
        .bind(integer("version", version)?)
        .bind(bounded("content", content, JSON)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// The slots of a target that were ever wanted.
    pub async fn slots(&self, target: &str) -> Result<Vec<String>, Error> {
        const DOING: &str = "listing slots";
        let rows = sqlx::query(
            "SELECT slot FROM postings WHERE tenant_id = $1 AND target = $2 ORDER BY slot",
        )
        .bind(self.tenant.as_str())
        .bind(target)
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("postings", row).text("slot")).collect()
    }

    /// Targets after `after` that have a slot which was written before `before` and has nothing left to be written, in the
    /// order of their names; at most `limit`.
    pub async fn old_targets(
        &self,
        after: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        const DOING: &str = "listing old postings";
        let rows = sqlx::query(
            "SELECT DISTINCT target FROM postings WHERE tenant_id = $1 AND target > $2 \
             AND written_at < $3 AND version = wanted_version ORDER BY target LIMIT $4",
        )
        .bind(self.tenant.as_str())
        .bind(after)
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("postings", row).text("target")).collect()
    }

    /// Removes what a target shows, as far as it was written before `before` and has nothing left to be written; how many
    /// slots. A slot whose effects are still known stays, as its versions would begin anew under the same keys.
    pub async fn remove(&self, target: &str, before: Timestamp) -> Result<u64, Error> {
        const DOING: &str = "removing old postings";
        let mut transaction = self.session.write(DOING).await?;
        let deleted = sqlx::query(
            "DELETE FROM postings WHERE tenant_id = $1 AND target = $2 AND written_at < $3 \
             AND version = wanted_version AND NOT EXISTS (SELECT 1 FROM effects \
             WHERE effects.tenant_id = postings.tenant_id \
             AND effects.effect_key > postings.target || '/' || postings.slot || '/' \
             AND effects.effect_key < postings.target || '/' || postings.slot || '0')",
        )
        .bind(self.tenant.as_str())
        .bind(target)
        .bind(before.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected())
    }

    /// What a target shows, by slot.
    pub async fn shown(&self, target: &str) -> Result<Vec<Posting>, Error> {
        const DOING: &str = "reading postings";
        let rows = sqlx::query(
            "SELECT * FROM postings WHERE tenant_id = $1 AND target = $2 AND version > 0 \
             ORDER BY slot",
        )
        .bind(self.tenant.as_str())
        .bind(target)
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Posting, Error> {
    let columns = Columns::of("postings", row);
    Ok(Posting {
        slot: columns.text("slot")?,
        version: columns.number("version")?,
        content: columns.text("content")?,
        written_at: columns.time("written_at")?,
    })
}
