//! Subscriptions: their settings, their positions, what waits for them and what died.

use std::time::Duration;

use sandgate_domain::Timestamp;
use sqlx::SqliteConnection;

use super::deliveries::read_message;
use super::{DeadLetter, EventLog, SubscriptionRow};
use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::text::{self, NAME, bounded};

/// A subscription and how far it is.
pub(super) struct Subscribed {
    pub(super) row: SubscriptionRow,
    /// The last place in the log that it has looked at.
    pub(super) position: i64,
}

impl EventLog {
    /// Makes a subscription, from the oldest message that the log keeps; or gives it new settings where it is.
    pub async fn subscribe(&self, subscription: &SubscriptionRow) -> Result<(), Error> {
        const DOING: &str = "subscribing";
        let lease = i64::try_from(subscription.lease.as_micros()).unwrap_or(i64::MAX);
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query(
            "INSERT INTO bus_subscriptions (name, filters, lease_micros, max_deliveries, position) \
             VALUES ($1, $2, $3, $4, 0) ON CONFLICT (name) DO UPDATE SET \
             filters = excluded.filters, lease_micros = excluded.lease_micros, \
             max_deliveries = excluded.max_deliveries",
        )
        .bind(bounded("subscription", &subscription.name, NAME)?)
        .bind(text::json("filters", &subscription.filters)?)
        .bind(lease)
        .bind(i64::from(subscription.max_deliveries))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// Whether a fetch may hand something out: there are messages after its position, or some are due again.
    pub async fn may_have(&self, subscription: &str, now: Timestamp) -> Result<bool, Error> {
        const DOING: &str = "looking for messages";
        let found: i64 = sqlx::query_scalar(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM bus_deliveries \
             WHERE subscription = $1 AND due_at <= $2) OR EXISTS (SELECT 1 FROM bus_events \
             WHERE seq > (SELECT position FROM bus_subscriptions WHERE name = $1)) \
             THEN 1 ELSE 0 END",
        )
        .bind(subscription)
        .bind(now.as_micros())
        .fetch_one(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        Ok(found != 0)
    }

    /// How many messages a subscription has still to do with: those after its position, and those in somebody's hands.
    pub async fn waiting(&self, subscription: &str) -> Result<u64, Error> {
        const DOING: &str = "counting messages";
        let count: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM bus_deliveries WHERE subscription = $1) + \
             (SELECT COUNT(*) FROM bus_events WHERE seq > \
             (SELECT position FROM bus_subscriptions WHERE name = $1))",
        )
        .bind(subscription)
        .fetch_one(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// The dead letters of a subscription, the oldest first; at most `limit`.
    pub async fn dead_letters(
        &self,
        subscription: &str,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        const DOING: &str = "listing dead letters";
        let rows = sqlx::query(
            "SELECT * FROM bus_dead_letters WHERE subscription = $1 ORDER BY died_at, seq LIMIT $2",
        )
        .bind(subscription)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of("bus_dead_letters", row);
                Ok(DeadLetter {
                    stored: read_message(row, columns.number("deliveries")?)?,
                    reason: columns.text("reason")?,
                    died_at: columns.time("died_at")?,
                })
            })
            .collect()
    }
}

pub(super) async fn load(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Subscribed, Error> {
    let row = sqlx::query("SELECT * FROM bus_subscriptions WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("reading a subscription"))?
        .ok_or_else(|| Error::UnknownSubscription { name: name.to_owned() })?;
    let columns = Columns::of("bus_subscriptions", &row);
    Ok(Subscribed {
        row: SubscriptionRow {
            name: columns.text("name")?,
            filters: columns.json("filters")?,
            lease: Duration::from_micros(columns.number("lease_micros")?),
            max_deliveries: columns.number("max_deliveries")?,
        },
        position: columns.integer("position")?,
    })
}

pub(super) async fn advance(
    connection: &mut SqliteConnection,
    subscribed: &Subscribed,
) -> Result<(), Error> {
    sqlx::query("UPDATE bus_subscriptions SET position = $2 WHERE name = $1")
        .bind(subscribed.row.name.as_str())
        .bind(subscribed.position)
        .execute(connection)
        .await
        .map_err(while_doing("moving a subscription on"))?;
    Ok(())
}
