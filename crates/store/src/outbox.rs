//! The outbox of a service: events are written in the transaction of what they tell, and published afterwards.

use std::collections::BTreeMap;

use sandgate_domain::{EventId, TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{self, JSON, NAME, bounded};

/// The outbox of one service, of all tenants.
#[derive(Debug, Clone)]
pub struct Outbox {
    session: Session,
    service: &'static str,
}

/// An event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// The event; becomes the message id on the bus.
    pub event_id: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The subject it is published under.
    pub subject: String,
    /// Headers, such as the trace context.
    pub headers: BTreeMap<String, String>,
    /// The event as JSON text.
    pub body: String,
}

impl Outbox {
    pub(crate) fn new(session: Session, service: &'static str) -> Self {
        Self { session, service }
    }

    /// Adds an event, after all that were added before. Call it inside the transaction of what the event tells.
    pub async fn push(&self, message: &OutboxMessage, now: Timestamp) -> Result<(), Error> {
        const DOING: &str = "adding an event to the outbox";
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query(
            "INSERT INTO outbox (tenant_id, service, event_id, position, subject, headers, body, \
             created_at) VALUES ($1, $2, $3, \
             (SELECT COALESCE(MAX(position), 0) + 1 FROM outbox WHERE service = $2), \
             $4, $5, $6, $7)",
        )
        .bind(message.tenant.as_str())
        .bind(self.service)
        .bind(message.event_id.to_string())
        .bind(bounded("subject", &message.subject, NAME)?)
        .bind(text::json("headers", &message.headers)?)
        .bind(bounded("event", &message.body, JSON)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// The events that were not published yet, in the order they were added; at most `limit`.
    pub async fn unpublished(&self, limit: u32) -> Result<Vec<OutboxMessage>, Error> {
        const DOING: &str = "reading the outbox";
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE service = $1 AND published_at IS NULL \
             ORDER BY position LIMIT $2",
        )
        .bind(self.service)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// The bus has acknowledged these events.
    pub async fn mark_published(
        &self,
        messages: &[OutboxMessage],
        now: Timestamp,
    ) -> Result<(), Error> {
        const DOING: &str = "marking events as published";
        let mut transaction = self.session.write(DOING).await?;
        for message in messages {
            sqlx::query(
                "UPDATE outbox SET published_at = $4 \
                 WHERE tenant_id = $1 AND service = $2 AND event_id = $3",
            )
            .bind(message.tenant.as_str())
            .bind(self.service)
            .bind(message.event_id.to_string())
            .bind(now.as_micros())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        }
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// All events added since `since` are to be published again: the bus has lost them. How many.
    pub async fn republish(&self, since: Timestamp) -> Result<u64, Error> {
        const DOING: &str = "publishing events again";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE outbox SET published_at = NULL WHERE service = $1 AND created_at >= $2",
        )
        .bind(self.service)
        .bind(since.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected())
    }

    /// Removes events that were published before `before`; how many, at most `limit`.
    pub async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM outbox WHERE service = $1 AND (tenant_id, event_id) IN \
            (SELECT tenant_id, event_id FROM outbox WHERE service = $1 AND published_at < $2 \
            ORDER BY published_at LIMIT $3)";
        self.remove(SQL, before, limit).await
    }

    /// Removes events that were added before `before` and that nobody published: for where nobody does. How many, at most
    /// `limit`.
    pub async fn drop_unpublished(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM outbox WHERE service = $1 AND (tenant_id, event_id) IN \
            (SELECT tenant_id, event_id FROM outbox WHERE service = $1 AND published_at IS NULL \
            AND created_at < $2 ORDER BY position LIMIT $3)";
        self.remove(SQL, before, limit).await
    }

    async fn remove(&self, sql: &'static str, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const DOING: &str = "pruning the outbox";
        let mut transaction = self.session.write(DOING).await?;
        let deleted = sqlx::query(sql)
            .bind(self.service)
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected())
    }
}

fn read(row: &SqliteRow) -> Result<OutboxMessage, Error> {
    let columns = Columns::of("outbox", row);
    Ok(OutboxMessage {
        event_id: columns.parsed("event_id")?,
        tenant: columns.parsed("tenant_id")?,
        subject: columns.text("subject")?,
        headers: columns.json("headers")?,
        body: columns.text("body")?,
    })
}
