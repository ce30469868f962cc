//! Effects on the outside, such as a comment or a check: the intent first, then the call, then what came of it.
//!
//! Whoever calls may be killed between the call and the note of it. Such an effect is *in doubt*: who takes it next must
//! search the outside for it before making it again.

use std::time::Duration;

use sandgate_domain::{TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{self, JSON, NAME, PATH, bounded, shortened};

/// The effects of a tenant.
#[derive(Debug, Clone)]
pub struct Effects {
    session: Session,
    tenant: TenantId,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it is, without the attempt: the same intent has the same key.
    pub key: String,
    /// What kind it is, such as `comment`.
    pub kind: String,
    /// What to send, as JSON text.
    pub payload: String,
    /// How far it is.
    pub state: EffectState,
    /// How many times it was taken.
    pub attempts: u32,
}

/// How far an effect is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectState {
    /// Wanted.
    Planned,
    /// Somebody is making the call.
    Sent {
        /// Until when; afterwards it is in doubt.
        lease_until: Timestamp,
    },
    /// The call went out and its answer did not come.
    Unknown {
        /// Why.
        reason: String,
    },
    /// It is there.
    Confirmed {
        /// What the outside calls it.
        remote_id: String,
        /// Since when we know.
        confirmed_at: Timestamp,
    },
}

/// What the taker of an effect has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Goes with the report.
    pub fence: u64,
    /// Whether an earlier call may have arrived: search before you create.
    pub in_doubt: bool,
}

impl Effects {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Writes an intent down. False if there is one under this key, which stays as it is.
    pub async fn plan(
        &self,
        key: &str,
        kind: &str,
        payload: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "planning an effect";
        let mut transaction = self.session.write(DOING).await?;
        let inserted = sqlx::query(
            "INSERT INTO effects (tenant_id, effect_key, kind, payload, state, attempts, fence, \
             planned_at) VALUES ($1, $2, $3, $4, 'planned', 0, 0, $5) ON CONFLICT DO NOTHING",
        )
        .bind(self.tenant.as_str())
        .bind(bounded("effect key", key, PATH)?)
        .bind(bounded("kind of effect", kind, NAME)?)
        .bind(bounded("payload", payload, JSON)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(inserted.rows_affected() > 0)
    }

    /// One effect.
    pub async fn get(&self, key: &str) -> Result<Option<Effect>, Error> {
        const DOING: &str = "reading an effect";
        let row = sqlx::query("SELECT * FROM effects WHERE tenant_id = $1 AND effect_key = $2")
            .bind(self.tenant.as_str())
            .bind(key)
            .fetch_optional(&mut *self.session.read(DOING).await?)
            .await
            .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// The effects that somebody has to take: planned, unknown, or sent by somebody whose lease ran out; the oldest first.
    pub async fn unsettled(&self, now: Timestamp, limit: u32) -> Result<Vec<Effect>, Error> {
        const DOING: &str = "listing unsettled effects";
        let rows = sqlx::query(
            "SELECT * FROM effects WHERE tenant_id = $1 AND (state IN ('planned', 'unknown') \
             OR (state = 'sent' AND lease_until <= $2)) ORDER BY planned_at, effect_key LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(read).collect()
    }

    /// Takes an effect to make its call. None if it is confirmed, unknown here, or in other hands.
    pub async fn take(
        &self,
        key: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Take>, Error> {
        const DOING: &str = "taking an effect";
        let mut transaction = self.session.write(DOING).await?;
        let before: Option<String> = sqlx::query_scalar(
            "SELECT state FROM effects WHERE tenant_id = $1 AND effect_key = $2 \
             AND (state IN ('planned', 'unknown') OR (state = 'sent' AND lease_until <= $3))",
        )
        .bind(self.tenant.as_str())
        .bind(key)
        .bind(now.as_micros())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        let Some(before) = before else {
            transaction.commit().await.map_err(while_doing(DOING))?;
            return Ok(None);
        };
        let row = sqlx::query(
            "UPDATE effects SET state = 'sent', lease_until = $3, attempts = attempts + 1, \
             fence = fence + 1 WHERE tenant_id = $1 AND effect_key = $2 RETURNING fence",
        )
        .bind(self.tenant.as_str())
        .bind(key)
        .bind(now.plus(lease).as_micros())
        .fetch_one(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        let fence = Columns::of("effects", &row).number("fence")?;
        Ok(Some(Take { fence, in_doubt: before != "planned" }))
    }

    /// It is there, under this name. True whoever found it: a late report of an earlier taker is as true.
    pub async fn confirm(&self, key: &str, remote_id: &str, now: Timestamp) -> Result<bool, Error> {
        const DOING: &str = "confirming an effect";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE effects SET state = 'confirmed', lease_until = NULL, remote_id = $3, \
             confirmed_at = $4 WHERE tenant_id = $1 AND effect_key = $2 AND state <> 'confirmed'",
        )
        .bind(self.tenant.as_str())
        .bind(key)
        .bind(bounded("remote id", remote_id, NAME)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// The answer did not come, or said nothing about what happened: to be searched for.
    pub async fn doubt(&self, key: &str, fence: u64, reason: &str) -> Result<(), Error> {
        self.leave(key, fence, "unknown", reason).await
    }

    /// The outside has surely not done it: to be tried again without a search. Where [`Take::in_doubt`] was said, only after
    /// a search that found nothing.
    pub async fn refuse(&self, key: &str, fence: u64, reason: &str) -> Result<(), Error> {
        self.leave(key, fence, "planned", reason).await
    }

    /// Forgets effects that were confirmed before `before`; how many, at most `limit`. Their keys must not be planned again.
    pub async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        const DOING: &str = "forgetting effects";
        let mut transaction = self.session.write(DOING).await?;
        let deleted = sqlx::query(
            "DELETE FROM effects WHERE tenant_id = $1 AND effect_key IN \
             (SELECT effect_key FROM effects WHERE tenant_id = $1 AND state = 'confirmed' \
             AND planned_at < $2 AND confirmed_at < $2 ORDER BY planned_at LIMIT $3)",
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

    async fn leave(
        &self,
        key: &str,
        fence: u64,
        state: &'static str,
        reason: &str,
    ) -> Result<(), Error> {
        const DOING: &str = "giving an effect back";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE effects SET state = $4, lease_until = NULL, reason = $5 \
             WHERE tenant_id = $1 AND effect_key = $2 AND fence = $3 AND state = 'sent'",
        )
        .bind(self.tenant.as_str())
        .bind(key)
        .bind(text::integer("fence", fence)?)
        .bind(state)
        .bind(shortened(reason))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        if changed.rows_affected() == 0 {
            return Err(Error::StaleFence { what: format!("effect {key}"), fence });
        }
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<Effect, Error> {
    let columns = Columns::of("effects", row);
    let state = match columns.text("state")?.as_str() {
        "planned" => EffectState::Planned,
        "sent" => EffectState::Sent { lease_until: columns.time("lease_until")? },
        "unknown" => {
            EffectState::Unknown { reason: columns.text_option("reason")?.unwrap_or_default() }
        }
        "confirmed" => EffectState::Confirmed {
            remote_id: columns.text("remote_id")?,
            confirmed_at: columns.time("confirmed_at")?,
        },
        other => return Err(columns.problem("state", format_args!("`{other}` is no state"))),
    };
    Ok(Effect {
        key: columns.text("effect_key")?,
        kind: columns.text("kind")?,
        payload: columns.text("payload")?,
        state,
        attempts: columns.number("attempts")?,
    })
}
