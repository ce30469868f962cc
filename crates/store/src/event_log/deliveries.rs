//! Handing messages out and taking the answers, each under the number of its delivery.

use std::time::Duration;

use sandgate_domain::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::filter::matches;
use super::subscriptions::{self, Subscribed};
use super::{Fetched, Lease, NewMessage, Outcome, StoredMessage};
use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::text::{self, shortened};

/// Messages looked at in one go.
const SCAN: i64 = 500;
/// Messages handed out at once at most.
const LARGEST_FETCH: u32 = 500;
/// What a message died of whose workers never answered.
const SILENCE: &str =
    "its workers vanished: no answer within the lease, however often it was delivered";

pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    name: &str,
    limit: u32,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let limit = limit.clamp(1, LARGEST_FETCH) as usize;
    let subscribed = subscriptions::load(connection, name).await?;
    let mut fetched = Fetched::default();
    fetch_due(connection, &subscribed, limit, now, &mut fetched).await?;
    fetch_new(connection, subscribed, limit, now, &mut fetched).await?;
    Ok(Outcome::Fetched(fetched))
}

/// Messages whose wait is over, or whose worker did not answer in time.
async fn fetch_due(
    connection: &mut SqliteConnection,
    subscribed: &Subscribed,
    limit: usize,
    now: Timestamp,
    fetched: &mut Fetched,
) -> Result<(), Error> {
    const DOING: &str = "handing out messages again";
    let name = subscribed.row.name.as_str();
    while fetched.messages.len() < limit {
        let row = sqlx::query(
            "SELECT event.*, delivery.deliveries, delivery.reason FROM bus_deliveries delivery \
             JOIN bus_events event ON event.seq = delivery.seq \
             WHERE delivery.subscription = $1 AND delivery.due_at <= $2 \
             ORDER BY delivery.due_at, delivery.seq LIMIT 1",
        )
        .bind(name)
        .bind(now.as_micros())
        .fetch_optional(&mut *connection)
        .await
        .map_err(while_doing(DOING))?;
        let Some(row) = row else { return Ok(()) };
        let columns = Columns::of("bus_deliveries", &row);
        let past: u32 = columns.number("deliveries")?;
        let stored = read_message(&row, past)?;
        if past >= subscribed.row.max_deliveries {
            let reason = columns.text_option("reason")?;
            let reason = reason.as_deref().unwrap_or(SILENCE);
            let lease = Lease { subscription: name.to_owned(), seq: stored.seq, delivery: past };
            bury(connection, &lease, reason, now).await?;
            fetched.died += 1;
            continue;
        }
        sqlx::query(
            "UPDATE bus_deliveries SET deliveries = deliveries + 1, is_leased = 1, due_at = $3, \
             reason = NULL WHERE subscription = $1 AND seq = $2",
        )
        .bind(name)
        .bind(text::integer("sequence number", stored.seq)?)
        .bind(now.plus(subscribed.row.lease).as_micros())
        .execute(&mut *connection)
        .await
        .map_err(while_doing(DOING))?;
        fetched.messages.push(StoredMessage { delivery: past + 1, ..stored });
    }
    Ok(())
}

/// Messages after the position of the subscription.
async fn fetch_new(
    connection: &mut SqliteConnection,
    mut subscribed: Subscribed,
    limit: usize,
    now: Timestamp,
    fetched: &mut Fetched,
) -> Result<(), Error> {
    const DOING: &str = "handing out messages";
    let before = subscribed.position;
    'scan: loop {
        let rows = sqlx::query("SELECT * FROM bus_events WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(subscribed.position)
            .bind(SCAN)
            .fetch_all(&mut *connection)
            .await
            .map_err(while_doing(DOING))?;
        for row in &rows {
            if fetched.messages.len() >= limit {
                break 'scan;
            }
            let stored = read_message(row, 1)?;
            subscribed.position = text::integer("sequence number", stored.seq)?;
            let filters = &subscribed.row.filters;
            if filters.iter().any(|filter| matches(filter, &stored.message.subject)) {
                insert(connection, &subscribed, now).await?;
                fetched.messages.push(stored);
            }
        }
        if rows.len() < SCAN as usize {
            break;
        }
    }
    if subscribed.position > before {
        subscriptions::advance(connection, &subscribed).await?;
    }
    Ok(())
}

/// A row for the message at the position of the subscription: it is in somebody's hands from now on.
async fn insert(
    connection: &mut SqliteConnection,
    subscribed: &Subscribed,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO bus_deliveries (subscription, seq, deliveries, is_leased, due_at) \
         VALUES ($1, $2, 1, 1, $3)",
    )
    .bind(subscribed.row.name.as_str())
    .bind(subscribed.position)
    .bind(now.plus(subscribed.row.lease).as_micros())
    .execute(connection)
    .await
    .map_err(while_doing("handing out a message"))?;
    Ok(())
}

pub(super) async fn ack(
    connection: &mut SqliteConnection,
    lease: &Lease,
) -> Result<Outcome, Error> {
    let deleted = sqlx::query(
        "DELETE FROM bus_deliveries \
         WHERE subscription = $1 AND seq = $2 AND deliveries = $3 AND is_leased = 1",
    )
    .bind(lease.subscription.as_str())
    .bind(text::integer("sequence number", lease.seq)?)
    .bind(i64::from(lease.delivery))
    .execute(connection)
    .await
    .map_err(while_doing("acknowledging a message"))?;
    Ok(outcome(deleted.rows_affected()))
}

pub(super) async fn nak(
    connection: &mut SqliteConnection,
    lease: &Lease,
    delay: Duration,
    reason: &str,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let subscribed = subscriptions::load(connection, &lease.subscription).await?;
    if lease.delivery >= subscribed.row.max_deliveries {
        return terminate(connection, lease, reason, now).await;
    }
    let changed = sqlx::query(
        "UPDATE bus_deliveries SET is_leased = 0, due_at = $4, reason = $5 \
         WHERE subscription = $1 AND seq = $2 AND deliveries = $3 AND is_leased = 1",
    )
    .bind(lease.subscription.as_str())
    .bind(text::integer("sequence number", lease.seq)?)
    .bind(i64::from(lease.delivery))
    .bind(now.plus(delay).as_micros())
    .bind(shortened(reason))
    .execute(connection)
    .await
    .map_err(while_doing("giving a message back"))?;
    Ok(outcome(changed.rows_affected()))
}

pub(super) async fn extend(
    connection: &mut SqliteConnection,
    lease: &Lease,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let subscribed = subscriptions::load(connection, &lease.subscription).await?;
    let changed = sqlx::query(
        "UPDATE bus_deliveries SET due_at = $4 \
         WHERE subscription = $1 AND seq = $2 AND deliveries = $3 AND is_leased = 1",
    )
    .bind(lease.subscription.as_str())
    .bind(text::integer("sequence number", lease.seq)?)
    .bind(i64::from(lease.delivery))
    .bind(now.plus(subscribed.row.lease).as_micros())
    .execute(connection)
    .await
    .map_err(while_doing("extending a lease"))?;
    Ok(outcome(changed.rows_affected()))
}

pub(super) async fn terminate(
    connection: &mut SqliteConnection,
    lease: &Lease,
    reason: &str,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let held = sqlx::query(
        "SELECT 1 FROM bus_deliveries \
         WHERE subscription = $1 AND seq = $2 AND deliveries = $3 AND is_leased = 1",
    )
    .bind(lease.subscription.as_str())
    .bind(text::integer("sequence number", lease.seq)?)
    .bind(i64::from(lease.delivery))
    .fetch_optional(&mut *connection)
    .await
    .map_err(while_doing("ending the deliveries of a message"))?;
    if held.is_none() {
        return Ok(Outcome::Stale);
    }
    bury(connection, lease, reason, now).await?;
    Ok(Outcome::Done)
}

/// Makes a message a dead letter of the subscription.
async fn bury(
    connection: &mut SqliteConnection,
    lease: &Lease,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    const DOING: &str = "making a message a dead letter";
    sqlx::query(
        "INSERT INTO bus_dead_letters (subscription, seq, tenant_id, subject, message_id, headers, \
         body, deliveries, reason, died_at) SELECT $1, seq, tenant_id, subject, message_id, \
         headers, body, $3, $4, $5 FROM bus_events WHERE seq = $2",
    )
    .bind(lease.subscription.as_str())
    .bind(text::integer("sequence number", lease.seq)?)
    .bind(i64::from(lease.delivery))
    .bind(shortened(reason))
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await
    .map_err(while_doing(DOING))?;
    sqlx::query("DELETE FROM bus_deliveries WHERE subscription = $1 AND seq = $2")
        .bind(lease.subscription.as_str())
        .bind(text::integer("sequence number", lease.seq)?)
        .execute(connection)
        .await
        .map_err(while_doing(DOING))?;
    Ok(())
}

/// A message of a row with the columns of `bus_events`.
pub(super) fn read_message(row: &SqliteRow, delivery: u32) -> Result<StoredMessage, Error> {
    let columns = Columns::of("bus_events", row);
    Ok(StoredMessage {
        seq: columns.number("seq")?,
        message: NewMessage {
            tenant: columns.parsed("tenant_id")?,
            subject: columns.text("subject")?,
            message_id: columns.text("message_id")?,
            headers: columns.json("headers")?,
            body: columns.text("body")?,
        },
        delivery,
    })
}

fn outcome(rows: u64) -> Outcome {
    if rows > 0 { Outcome::Done } else { Outcome::Stale }
}
