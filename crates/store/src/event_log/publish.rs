//! Adding to the log: one number after the other, a message id once.

use sandgate_domain::Timestamp;
use sqlx::SqliteConnection;

use super::{NewMessage, Outcome};
use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::text::{self, JSON, NAME, bounded};

const DOING: &str = "publishing a message";

pub(super) async fn publish(
    connection: &mut SqliteConnection,
    message: &NewMessage,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let message_id = bounded("message id", &message.message_id, NAME)?;
    let known = sqlx::query("SELECT seq FROM bus_events WHERE tenant_id = $1 AND message_id = $2")
        .bind(message.tenant.as_str())
        .bind(message_id.as_ref())
        .fetch_optional(&mut *connection)
        .await
        .map_err(while_doing(DOING))?;
    if let Some(row) = known {
        let seq = Columns::of("bus_events", &row).number("seq")?;
        return Ok(Outcome::Published { seq, duplicate: true });
    }
    let row = sqlx::query(
        "UPDATE bus_counters SET value = value + 1 WHERE name = 'last_seq' RETURNING value",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(while_doing(DOING))?;
    let seq: u64 = Columns::of("bus_counters", &row).number("value")?;
    sqlx::query(
        "INSERT INTO bus_events (seq, tenant_id, subject, message_id, headers, body, published_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(text::integer("sequence number", seq)?)
    .bind(message.tenant.as_str())
    .bind(bounded("subject", &message.subject, NAME)?)
    .bind(message_id)
    .bind(text::json("headers", &message.headers)?)
    .bind(bounded("message", &message.body, JSON)?)
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map_err(while_doing(DOING))?;
    Ok(Outcome::Published { seq, duplicate: false })
}
