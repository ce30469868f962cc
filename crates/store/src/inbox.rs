//! What arrived from outside: each delivery is written down once, before it is answered, and keeps what became of it.

use sandgate_domain::{TenantId, Timestamp};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{NAME, PATH, bounded, bounded_option, shortened, within};

/// The largest body of a delivery, in bytes.
const BODY: usize = 25 << 20;

/// What arrived for a tenant.
#[derive(Debug, Clone)]
pub struct Inbox {
    session: Session,
    tenant: TenantId,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Where it came from, such as `github`.
    pub source: String,
    /// The id that the source gave it.
    pub delivery_id: String,
    /// A digest of its body: the same id with another body is refused.
    pub body_hash: String,
    /// What it means, for sources that deliver one thing under two ids. Must differ for two things that happened.
    pub semantic_key: Option<String>,
    /// The repository that it is about.
    pub repository: Option<String>,
    /// What kind it is, such as `pull_request`.
    pub kind: String,
    /// The body, as text; empty once it was dropped.
    pub body: String,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxOutcome {
    /// Written down, not worked on yet.
    Queued,
    /// Done.
    Succeeded,
    /// Nothing to do; delivered again, it is looked at again, as the reason may be gone.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Could not be done; delivered again, it is tried again.
    Failed {
        /// Why.
        reason: String,
    },
}

impl InboxOutcome {
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Queued => ("queued", None),
            Self::Succeeded => ("succeeded", None),
            Self::Ignored { reason } => ("ignored", Some(reason)),
            Self::Failed { reason } => ("failed", Some(reason)),
        }
    }
}

/// A delivery as people look at it: without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalSummary {
    /// The id that the source gave it.
    pub delivery_id: String,
    /// What kind it is.
    pub kind: String,
    /// The repository that it is about.
    pub repository: Option<String>,
    /// What became of it.
    pub outcome: InboxOutcome,
    /// When it came first.
    pub received_at: Timestamp,
    /// Grows with every delivery: where the next page goes on.
    pub position: u64,
}

/// The answer to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxAnswer {
    /// It is written down, to be worked on: new, or failed or ignored before.
    Queued,
    /// It was delivered before.
    Duplicate(InboxOutcome),
    /// The same thing was delivered before under another id.
    SameMeaning {
        /// That id.
        delivery_id: String,
    },
    /// The id was used before with another body.
    OtherBody,
}

impl Inbox {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Writes a delivery down, unless it was before. Commit before you answer the source.
    pub async fn accept(&self, arrival: &Arrival, now: Timestamp) -> Result<InboxAnswer, Error> {
        const DOING: &str = "accepting a delivery";
        let mut transaction = self.session.write(DOING).await?;
        let known = self.find(&mut transaction, arrival).await?;
        let answer = match known {
            Some((hash, _)) if hash != arrival.body_hash => InboxAnswer::OtherBody,
            Some((_, InboxOutcome::Failed { .. } | InboxOutcome::Ignored { .. })) => {
                self.queue_again(&mut transaction, arrival).await?;
                InboxAnswer::Queued
            }
            Some((_, outcome)) => InboxAnswer::Duplicate(outcome),
            None => match self.find_meaning(&mut transaction, arrival).await? {
                Some(delivery_id) => InboxAnswer::SameMeaning { delivery_id },
                None => {
                    self.insert(&mut transaction, arrival, now).await?;
                    InboxAnswer::Queued
                }
            },
        };
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(answer)
    }

    /// A queued delivery has its outcome. False if it had one before.
    pub async fn settle(
        &self,
        source: &str,
        delivery_id: &str,
        outcome: &InboxOutcome,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "settling a delivery";
        let (name, reason) = outcome.parts();
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE inbox SET outcome = $4, reason = $5, settled_at = $6 WHERE tenant_id = $1 \
             AND source = $2 AND delivery_id = $3 AND outcome = 'queued'",
        )
        .bind(self.tenant.as_str())
        .bind(source)
        .bind(delivery_id)
        .bind(name)
        .bind(reason.map(shortened))
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// A delivery with its body.
    pub async fn get(&self, source: &str, delivery_id: &str) -> Result<Option<Arrival>, Error> {
        const DOING: &str = "reading a delivery";
        let row = sqlx::query(
            "SELECT * FROM inbox WHERE tenant_id = $1 AND source = $2 AND delivery_id = $3",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("source", source, NAME)?)
        .bind(bounded("delivery id", delivery_id, NAME)?)
        .fetch_optional(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// The deliveries that are not worked on yet, the oldest first; at most `limit`.
    pub async fn queued(&self, limit: u32) -> Result<Vec<Arrival>, Error> {
        const DOING: &str = "listing queued deliveries";
        let rows = sqlx::query(
            "SELECT * FROM inbox WHERE tenant_id = $1 AND outcome = 'queued' \
             ORDER BY received_at, source, delivery_id LIMIT $2",
        )
        .bind(self.tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// Deliveries, the newest first, at most `limit`; those before a position, for the next page.
    pub async fn list(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ArrivalSummary>, Error> {
        const DOING: &str = "listing deliveries";
        let before = before.and_then(|position| i64::try_from(position).ok()).unwrap_or(i64::MAX);
        let rows = sqlx::query(
            "SELECT delivery_id, kind, repository, outcome, reason, received_at, position \
             FROM inbox WHERE tenant_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read_summary).collect()
    }

    /// Drops the bodies of deliveries that came before `before` and were done with; what they were and what became of them
    /// stays. How many, at most `limit`.
    pub async fn drop_bodies(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const DOING: &str = "dropping the bodies of deliveries";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE inbox SET body = '' WHERE tenant_id = $1 AND (source, delivery_id) IN \
             (SELECT source, delivery_id FROM inbox WHERE tenant_id = $1 AND body <> '' \
             AND received_at < $2 AND outcome IN ('succeeded', 'ignored') \
             ORDER BY received_at LIMIT $3)",
        )
        .bind(self.tenant.as_str())
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected())
    }

    /// Forgets deliveries that came before `before` and have an outcome: one that is sent again then is a new one. How many,
    /// at most `limit`.
    pub async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const DOING: &str = "forgetting deliveries";
        let mut transaction = self.session.write(DOING).await?;
        let deleted = sqlx::query(
            "DELETE FROM inbox WHERE tenant_id = $1 AND (source, delivery_id) IN \
             (SELECT source, delivery_id FROM inbox WHERE tenant_id = $1 AND received_at < $2 \
             AND outcome <> 'queued' ORDER BY received_at LIMIT $3)",
        )
        .bind(self.tenant.as_str())
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected())
    }

    async fn find(
        &self,
        connection: &mut SqliteConnection,
        arrival: &Arrival,
    ) -> Result<Option<(String, InboxOutcome)>, Error> {
        let row = sqlx::query(
            "SELECT body_hash, outcome, reason FROM inbox \
             WHERE tenant_id = $1 AND source = $2 AND delivery_id = $3",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("source", &arrival.source, NAME)?)
        .bind(bounded("delivery id", &arrival.delivery_id, NAME)?)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("looking a delivery up"))?;
        row.map(|row| {
            let columns = Columns::of("inbox", &row);
            Ok((columns.text("body_hash")?, read_outcome(&columns)?))
        })
        .transpose()
    }

    async fn find_meaning(
        &self,
        connection: &mut SqliteConnection,
        arrival: &Arrival,
    ) -> Result<Option<String>, Error> {
        let Some(key) = &arrival.semantic_key else { return Ok(None) };
        sqlx::query_scalar(
            "SELECT delivery_id FROM inbox WHERE tenant_id = $1 AND source = $2 \
             AND semantic_key = $3 AND outcome IN ('queued', 'succeeded') LIMIT 1",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("source", &arrival.source, NAME)?)
        .bind(bounded("semantic key", key, PATH)?)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("looking a delivery up by its meaning"))
    }

    async fn queue_again(
        &self,
        connection: &mut SqliteConnection,
        arrival: &Arrival,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE inbox SET outcome = 'queued', reason = NULL, settled_at = NULL \
             WHERE tenant_id = $1 AND source = $2 AND delivery_id = $3",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("source", &arrival.source, NAME)?)
        .bind(bounded("delivery id", &arrival.delivery_id, NAME)?)
        .execute(connection)
        .await
        .map_err(while_doing("queueing a delivery again"))?;
        Ok(())
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<(), Error> {
        within("body of a delivery", arrival.body.len(), BODY)?;
        sqlx::query(
            "INSERT INTO inbox (tenant_id, source, delivery_id, body_hash, semantic_key, kind, \
             body, repository, outcome, received_at, position) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, \
             (SELECT COALESCE(MAX(position), 0) + 1 FROM inbox WHERE tenant_id = $1))",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("source", &arrival.source, NAME)?)
        .bind(bounded("delivery id", &arrival.delivery_id, NAME)?)
        .bind(bounded("body hash", &arrival.body_hash, NAME)?)
        .bind(bounded_option("semantic key", arrival.semantic_key.as_deref(), PATH)?)
        .bind(bounded("kind", &arrival.kind, NAME)?)
        .bind(bounded("body", &arrival.body, BODY)?)
        .bind(bounded_option("repository", arrival.repository.as_deref(), PATH)?)
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map_err(while_doing("writing a delivery down"))?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<Arrival, Error> {
    let columns = Columns::of("inbox", row);
    Ok(Arrival {
        source: columns.text("source")?,
        delivery_id: columns.text("delivery_id")?,
        body_hash: columns.text("body_hash")?,
        semantic_key: columns.text_option("semantic_key")?,
        repository: columns.text_option("repository")?,
        kind: columns.text("kind")?,
        body: columns.text("body")?,
    })
}

fn read_summary(row: &SqliteRow) -> Result<ArrivalSummary, Error> {
    let columns = Columns::of("inbox", row);
    Ok(ArrivalSummary {
        delivery_id: columns.text("delivery_id")?,
        kind: columns.text("kind")?,
        repository: columns.text_option("repository")?,
        outcome: read_outcome(&columns)?,
        received_at: columns.time("received_at")?,
        position: columns.number("position")?,
    })
}

fn read_outcome(columns: &Columns<'_>) -> Result<InboxOutcome, Error> {
    let reason = columns.text_option("reason")?.unwrap_or_default();
    match columns.text("outcome")?.as_str() {
        "queued" => Ok(InboxOutcome::Queued),
        "succeeded" => Ok(InboxOutcome::Succeeded),
        "ignored" => Ok(InboxOutcome::Ignored { reason }),
        "failed" => Ok(InboxOutcome::Failed { reason }),
        other => Err(columns.problem("outcome", format_args!("`{other}` is no outcome"))),
    }
}
