//! The events that a subscription has consumed: kept by the consumer, in the transaction of what the event made it do.

use std::time::Duration;

use sandgate_domain::{TenantId, Timestamp};

use crate::error::{Error, while_doing};
use crate::session::Session;
use crate::text::{NAME, bounded};

/// The consumed events of one subscription.
#[derive(Debug, Clone)]
pub struct Seen {
    session: Session,
    subscription: String,
}

impl Seen {
    pub(crate) fn new(session: Session, subscription: String) -> Self {
        Self { session, subscription }
    }

    /// Notes an event. False if it was noted before: then do nothing. Call it inside the transaction of the effect, or an
    /// event whose effect is lost counts as consumed.
    pub async fn first_time(
        &self,
        tenant: &TenantId,
        event_id: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "noting a consumed event";
        let mut transaction = self.session.write(DOING).await?;
        let inserted = sqlx::query(
            "INSERT INTO seen_events (tenant_id, subscription, event_id, seen_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(bounded("subscription", &self.subscription, NAME)?)
        .bind(bounded("event id", event_id, NAME)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(inserted.rows_affected() > 0)
    }

    /// Forgets what is older than `age`, which must exceed the time that the bus keeps events; how many.
    pub async fn forget(&self, age: Duration, now: Timestamp) -> Result<u64, Error> {
        const DOING: &str = "forgetting consumed events";
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let mut transaction = self.session.write(DOING).await?;
        let deleted =
            sqlx::query("DELETE FROM seen_events WHERE subscription = $1 AND seen_at < $2")
                .bind(bounded("subscription", &self.subscription, NAME)?)
                .bind(now.as_micros().saturating_sub(age))
                .execute(&mut *transaction)
                .await
                .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(deleted.rows_affected())
    }
}
