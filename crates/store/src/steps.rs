//! Steps: claimed by one owner at a time under a lease and a fence, ended once.

mod transitions;

use sandgate_domain::{
    Completion, GateResult, RunId, Share, Step, StepId, StepState, TenantId, Timestamp,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{self, JSON, NAME, bounded, bounded_option, shortened};

pub use transitions::{Acceptance, Claim, Retry};

/// The steps of a tenant. They are made with their run, by [`Runs::create`](crate::Runs::create), but for its end.
#[derive(Debug, Clone)]
pub struct Steps {
    session: Session,
    tenant: TenantId,
}

impl Steps {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// One step.
    pub async fn get(&self, id: StepId) -> Result<Option<Step>, Error> {
        let row = sqlx::query("SELECT * FROM steps WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(&mut *self.session.read("reading a step").await?)
            .await
            .map_err(while_doing("reading a step"))?;
        row.as_ref().map(read).transpose()
    }

    /// Writes a step of a run down that was not planned with it.
    pub async fn add(&self, step: &Step) -> Result<(), Error> {
        const DOING: &str = "adding a step to a run";
        let mut transaction = self.session.write(DOING).await?;
        insert(&mut transaction, &self.tenant, step).await?;
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// The step that ends a run in which everything passed, if it came to that.
    pub async fn closing(&self, run: RunId) -> Result<Option<Step>, Error> {
        const DOING: &str = "reading the end of a run";
        let row = sqlx::query(
            "SELECT * FROM steps WHERE tenant_id = $1 AND run_id = $2 AND kind = 'close'",
        )
        .bind(self.tenant.as_str())
        .bind(run.to_string())
        .fetch_optional(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        row.as_ref().map(read).transpose()
    }

    /// The setup and the gates of a run, in the order they were planned.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<Step>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM steps WHERE tenant_id = $1 AND run_id = $2 AND kind <> 'close' \
             ORDER BY queued_at, id",
        )
        .bind(self.tenant.as_str())
        .bind(run.to_string())
        .fetch_all(&mut *self.session.read("listing the steps of a run").await?)
        .await
        .map_err(while_doing("listing the steps of a run"))?;
        rows.iter().map(read).collect()
    }

    /// Steps that may be claimed, the oldest first: ready ones, and claimed ones whose lease ran out. At most `limit`.
    pub async fn claimable(&self, now: Timestamp, limit: u32) -> Result<Vec<Step>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM steps WHERE tenant_id = $1 \
             AND (state = 'ready' OR (state = 'claimed' AND lease_until <= $2)) \
             ORDER BY queued_at, id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing claimable steps").await?)
        .await
        .map_err(while_doing("listing claimable steps"))?;
        rows.iter().map(read).collect()
    }

    /// What is handed out now, of which so many steps to `owner`.
    pub async fn handed_out(&self, owner: &str) -> Result<HandedOut, Error> {
        const DOING: &str = "counting the steps under way";
        let row = sqlx::query(
            "SELECT COUNT(*) AS steps, \
             CAST(COALESCE(SUM(CASE WHEN owner = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) AS own, \
             CAST(COALESCE(SUM(held_cpu_millis), 0) AS BIGINT) AS cpu, \
             CAST(COALESCE(SUM(held_memory_bytes), 0) AS BIGINT) AS memory FROM steps WHERE tenant_id = $1 AND state = 'claimed' AND kind <> 'close'",
        )
        .bind(self.tenant.as_str())
        .bind(owner)
        .fetch_one(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        let columns = Columns::of("steps", &row);
        let share =
            Share { cpu_millis: columns.number("cpu")?, memory_bytes: columns.number("memory")? };
        Ok(HandedOut { own: columns.number("own")?, steps: columns.number("steps")?, share })
    }

    /// Claimed steps whose lease ran out: their owner is gone. At most `limit`.
    pub async fn expired(&self, now: Timestamp, limit: u32) -> Result<Vec<Step>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM steps WHERE tenant_id = $1 AND state = 'claimed' AND lease_until <= $2 \
             ORDER BY lease_until, id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing steps with an expired lease").await?)
        .await
        .map_err(while_doing("listing steps with an expired lease"))?;
        rows.iter().map(read).collect()
    }
}

/// What is handed out at a time. Ends of runs are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandedOut {
    /// Steps of one owner.
    pub own: u32,
    /// Steps of all owners.
    pub steps: u32,
    /// What all of them hold.
    pub share: Share,
}

/// Writes a step down, in whatever state it is.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    step: &Step,
) -> Result<(), Error> {
    let (owner, lease_until) = match &step.state {
        StepState::Claimed { owner, lease_until, .. } => {
            (Some(owner.as_str()), Some(lease_until.as_micros()))
        }
        StepState::Waiting | StepState::Ready | StepState::Ended { .. } => (None, None),
    };
    let ended_at = match &step.state {
        StepState::Ended { ended_at, .. } => Some(ended_at.as_micros()),
        StepState::Waiting | StepState::Ready | StepState::Claimed { .. } => None,
    };
    let outcome = Outcome::of(step.state.completion())?;
    sqlx::query(
        "INSERT INTO steps (tenant_id, id, run_id, name, kind, blocking, state, attempts, \
         infra_retries, fence, owner, lease_until, queued_at, claimed_at, started_at, ended_at, \
         result, reason, exit_code, signal, reports, snapshot_id) VALUES \
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22)",
    )
    .bind(tenant.as_str())
    .bind(step.id.to_string())
    .bind(step.run.to_string())
    .bind(bounded("step name", &step.name, NAME)?)
    .bind(step.kind.as_str())
    .bind(i64::from(step.blocking))
    .bind(step.state.name())
    .bind(i64::from(step.attempts))
    .bind(i64::from(step.infra_retries))
    .bind(text::integer("fence", step.fence)?)
    .bind(bounded_option("owner", owner, NAME)?)
    .bind(lease_until)
    .bind(step.queued_at.as_micros())
    .bind(step.state.claimed_at().map(Timestamp::as_micros))
    .bind(step.state.started_at().map(Timestamp::as_micros))
    .bind(ended_at)
    .bind(outcome.result)
    .bind(outcome.reason)
    .bind(outcome.exit_code)
    .bind(outcome.signal)
    .bind(outcome.reports)
    .bind(outcome.snapshot_id)
    .execute(connection)
    .await
    .map_err(while_doing("writing a step down"))?;
    Ok(())
}

/// The columns of a completion; all empty while there is none.
#[derive(Default)]
struct Outcome {
    result: Option<&'static str>,
    reason: Option<String>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    reports: Option<String>,
    snapshot_id: Option<String>,
}

impl Outcome {
    fn of(completion: Option<&Completion>) -> Result<Self, Error> {
        let Some(completion) = completion else { return Ok(Self::default()) };
        let reports = bounded_option("reports", completion.reports.as_deref(), JSON)?;
        Ok(Self {
            result: Some(completion.result.as_str()),
            reason: completion.reason.as_deref().map(|reason| shortened(reason).into_owned()),
            exit_code: completion.exit_code.map(i64::from),
            signal: completion.signal.map(i64::from),
            reports: reports.map(std::borrow::Cow::into_owned),
            snapshot_id: completion.snapshot.map(|snapshot| snapshot.to_string()),
        })
    }
}

fn read(row: &SqliteRow) -> Result<Step, Error> {
    let columns = Columns::of("steps", row);
    Ok(Step {
        id: columns.parsed("id")?,
        tenant: columns.parsed("tenant_id")?,
        run: columns.parsed("run_id")?,
        name: columns.text("name")?,
        kind: columns.parsed("kind")?,
        blocking: columns.flag("blocking")?,
        state: read_state(&columns)?,
        attempts: columns.number("attempts")?,
        infra_retries: columns.number("infra_retries")?,
        fence: columns.number("fence")?,
        queued_at: columns.time("queued_at")?,
    })
}

fn read_state(columns: &Columns<'_>) -> Result<StepState, Error> {
    match columns.text("state")?.as_str() {
        "waiting" => Ok(StepState::Waiting),
        "ready" => Ok(StepState::Ready),
        "claimed" => Ok(StepState::Claimed {
            owner: columns.text("owner")?,
            lease_until: columns.time("lease_until")?,
            claimed_at: columns.time("claimed_at")?,
            started_at: columns.time_option("started_at")?,
        }),
        "ended" => Ok(StepState::Ended {
            completion: Completion {
                result: columns.parsed::<GateResult>("result")?,
                reason: columns.text_option("reason")?,
                exit_code: columns.number_option("exit_code")?,
                signal: columns.number_option("signal")?,
                reports: columns.text_option("reports")?,
                snapshot: columns.parsed_option("snapshot_id")?,
            },
            claimed_at: columns.time_option("claimed_at")?,
            started_at: columns.time_option("started_at")?,
            ended_at: columns.time("ended_at")?,
        }),
        other => Err(columns.problem("state", format_args!("`{other}` is no state"))),
    }
}
