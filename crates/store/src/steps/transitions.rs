//! How a step moves: each move is one conditional update. A move under an old fence changes nothing and says so.

use std::time::Duration;

use sandgate_domain::{Completion, RunId, Share, StepId, Timestamp};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use super::{Outcome, Steps};
use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::text::{self, NAME, bounded};

/// What a claim gives to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Goes with everything that the owner reports.
    pub fence: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many attempts before were lost to us.
    pub infra_retries: u32,
    /// Until when, if not renewed.
    pub lease_until: Timestamp,
}

/// Why a step is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Our fault: the sandbox or the runner was lost. Counted apart.
    Infra,
    /// The gate may be tried again after a failure of its own.
    Gate,
}

/// What became of a reported result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is the result of the step.
    First,
    /// The same owner had reported already; the first report stays.
    Repeated,
}

impl Steps {
    /// What a waiting step needs has passed. False if it was not waiting.
    pub async fn ready(&self, id: StepId) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE steps SET state = 'ready' \
             WHERE tenant_id = $1 AND id = $2 AND state = 'waiting'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string());
        Ok(self.change("making a step ready", query).await? > 0)
    }

    /// Takes a step: a ready one, or a claimed one whose lease ran out (which counts as an infra retry). None if somebody
    /// else was faster, or there is nothing to take.
    pub async fn claim(
        &self,
        id: StepId,
        owner: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Claim>, Error> {
        const DOING: &str = "claiming a step";
        let lease_until = now.plus(lease);
        let owner = bounded("owner", owner, NAME)?;
        let mut transaction = self.session.write(DOING).await?;
        let row = sqlx::query(
            "UPDATE steps SET state = 'claimed', owner = $3, claimed_at = $4, lease_until = $5, \
             started_at = NULL, attempts = attempts + 1, fence = fence + 1, \
             infra_retries = infra_retries + CASE WHEN state = 'claimed' THEN 1 ELSE 0 END \
             WHERE tenant_id = $1 AND id = $2 \
             AND (state = 'ready' OR (state = 'claimed' AND lease_until <= $4)) \
             RETURNING fence, attempts, infra_retries",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(owner)
        .bind(now.as_micros())
        .bind(lease_until.as_micros())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        row.map(|row| {
            let columns = Columns::of("steps", &row);
            Ok(Claim {
                fence: columns.number("fence")?,
                attempt: columns.number("attempts")?,
                infra_retries: columns.number("infra_retries")?,
                lease_until,
            })
        })
        .transpose()
    }

    /// Sets a part of the machine aside for as long as this claim lasts.
    pub async fn set_aside(&self, id: StepId, fence: u64, share: Share) -> Result<(), Error> {
        // One step can't hold so much that a sum of all would not fit.
        let bounded = |number: u64| i64::try_from(number.min(1 << 52)).unwrap_or(i64::MAX);
        let query = sqlx::query(
            "UPDATE steps SET held_cpu_millis = $4, held_memory_bytes = $5 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(bounded(share.cpu_millis))
        .bind(bounded(share.memory_bytes));
        self.change_fenced("setting a part of the machine aside", query, id, fence).await
    }

    /// Holds a claim for `lease` from now on; the new end. A lease that ran out can't be renewed: the sandbox is gone.
    pub async fn renew(
        &self,
        id: StepId,
        fence: u64,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Timestamp, Error> {
        let lease_until = now.plus(lease);
        let query = sqlx::query(
            "UPDATE steps SET lease_until = $5 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed' \
             AND lease_until > $4",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(now.as_micros())
        .bind(lease_until.as_micros());
        self.change_fenced("renewing a lease", query, id, fence).await?;
        Ok(lease_until)
    }

    /// The first instruction of its commands ran, at `at`. Told again, the first time stays.
    pub async fn start(&self, id: StepId, fence: u64, at: Timestamp) -> Result<(), Error> {
        let query = sqlx::query(
            "UPDATE steps SET started_at = COALESCE(started_at, $4) \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(at.as_micros());
        self.change_fenced("starting a step", query, id, fence).await
    }

    /// The owner gives a step back, to be claimed again.
    pub async fn release(&self, id: StepId, fence: u64, retry: Retry) -> Result<(), Error> {
        let lost: i64 = match retry {
            Retry::Infra => 1,
            Retry::Gate => 0,
        };
        let query = sqlx::query(
            "UPDATE steps SET state = 'ready', owner = NULL, lease_until = NULL, \
             claimed_at = NULL, started_at = NULL, infra_retries = infra_retries + $4 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(lost);
        self.change_fenced("giving a step back", query, id, fence).await
    }

    /// The owner reports the result. It counts as long as nobody else took the step, even after the lease ran out.
    pub async fn complete(
        &self,
        id: StepId,
        fence: u64,
        completion: &Completion,
        now: Timestamp,
    ) -> Result<Acceptance, Error> {
        const DOING: &str = "completing a step";
        let outcome = Outcome::of(Some(completion))?;
        let fence_number = text::integer("fence", fence)?;
        let mut transaction = self.session.write(DOING).await?;
        let query = sqlx::query(
            "UPDATE steps SET state = 'ended', owner = NULL, lease_until = NULL, result = $4, \
             reason = $5, exit_code = $6, signal = $7, reports = $8, snapshot_id = $9, \
             ended_at = $10, accepted_fence = fence \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(fence_number);
        let changed = bind_outcome(query, outcome)
            .bind(now.as_micros())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        if changed.rows_affected() > 0 {
            transaction.commit().await.map_err(while_doing(DOING))?;
            return Ok(Acceptance::First);
        }
        let repeated = sqlx::query(
            "SELECT 1 FROM steps WHERE tenant_id = $1 AND id = $2 AND accepted_fence = $3",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(fence_number)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        match repeated {
            Some(_) => Ok(Acceptance::Repeated),
            None => Err(Error::StaleFence { what: id.to_string(), fence }),
        }
    }

    /// The sweeper ends a step whose lease ran out and that may not be tried again. False if it moved on meanwhile.
    pub async fn expire(
        &self,
        id: StepId,
        fence: u64,
        completion: &Completion,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE steps SET state = 'ended', owner = NULL, lease_until = NULL, \
             fence = fence + 1, result = $4, reason = $5, exit_code = $6, signal = $7, \
             reports = $8, snapshot_id = $9, ended_at = $10 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'claimed' \
             AND lease_until <= $10",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?);
        let query = bind_outcome(query, Outcome::of(Some(completion))?).bind(now.as_micros());
        Ok(self.change("ending a step with an expired lease", query).await? > 0)
    }

    /// Ends a step whoever holds it: skipped, or cancelled. Its owner's fence becomes stale. False if it had ended.
    pub async fn settle(
        &self,
        id: StepId,
        completion: &Completion,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE steps SET state = 'ended', owner = NULL, lease_until = NULL, \
             fence = fence + 1, result = $3, reason = $4, exit_code = $5, signal = $6, \
             reports = $7, snapshot_id = $8, ended_at = $9 \
             WHERE tenant_id = $1 AND id = $2 AND state <> 'ended'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string());
        let query = bind_outcome(query, Outcome::of(Some(completion))?).bind(now.as_micros());
        Ok(self.change("ending a step", query).await? > 0)
    }

    /// Ends all steps of a run that have not ended; their ids.
    pub async fn settle_run(
        &self,
        run: RunId,
        completion: &Completion,
        now: Timestamp,
    ) -> Result<Vec<StepId>, Error> {
        const DOING: &str = "ending the steps of a run";
        let query = sqlx::query(
            "UPDATE steps SET state = 'ended', owner = NULL, lease_until = NULL, \
             fence = fence + 1, result = $3, reason = $4, exit_code = $5, signal = $6, \
             reports = $7, snapshot_id = $8, ended_at = $9 \
             WHERE tenant_id = $1 AND run_id = $2 AND state <> 'ended' RETURNING id",
        )
        .bind(self.tenant.as_str())
        .bind(run.to_string());
        let mut transaction = self.session.write(DOING).await?;
        let rows = bind_outcome(query, Outcome::of(Some(completion))?)
            .bind(now.as_micros())
            .fetch_all(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("steps", row).parsed("id")).collect()
    }

    async fn change_fenced(
        &self,
        doing: &'static str,
        query: StepQuery<'_>,
        id: StepId,
        fence: u64,
    ) -> Result<(), Error> {
        if self.change(doing, query).await? == 0 {
            return Err(Error::StaleFence { what: id.to_string(), fence });
        }
        Ok(())
    }

    async fn change(&self, doing: &'static str, query: StepQuery<'_>) -> Result<u64, Error> {
        let mut transaction = self.session.write(doing).await?;
        let changed = query.execute(&mut *transaction).await.map_err(while_doing(doing))?;
        transaction.commit().await.map_err(while_doing(doing))?;
        Ok(changed.rows_affected())
    }
}

type StepQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_outcome(query: StepQuery<'_>, outcome: Outcome) -> StepQuery<'_> {
    query
        .bind(outcome.result)
        .bind(outcome.reason)
        .bind(outcome.exit_code)
        .bind(outcome.signal)
        .bind(outcome.reports)
        .bind(outcome.snapshot_id)
}
