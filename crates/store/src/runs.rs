//! Runs: planned together with their steps, started once, ended once.

use sandgate_domain::{
    GateResult, IsolationSummary, Run, RunId, RunState, SnapshotId, Step, TenantId, Timestamp,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::page::{Page, PageRequest};
use crate::row::Columns;
use crate::session::Session;
use crate::steps;
use crate::text::{self, JSON, NAME, PATH, bounded, bounded_option};

/// Which runs are listed. An empty filter lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this repository, by its name or its key.
    pub repository: Option<String>,
    /// Whose commit begins with these hex digits.
    pub sha_prefix: Option<String>,
    /// Of this pull request.
    pub pull_request: Option<String>,
    /// With this result.
    pub result: Option<GateResult>,
}

/// The runs of a tenant.
#[derive(Debug, Clone)]
pub struct Runs {
    session: Session,
    tenant: TenantId,
}

impl Runs {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Writes a planned run and all its steps down, together or not at all.
    pub async fn create(&self, run: &Run, steps: &[Step]) -> Result<(), Error> {
        const DOING: &str = "writing a planned run down";
        let mut transaction = self.session.write(DOING).await?;
        insert(&mut transaction, &self.tenant, run).await?;
        for step in steps {
            steps::insert(&mut transaction, &self.tenant, step).await?;
        }
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// One run.
    pub async fn get(&self, id: RunId) -> Result<Option<Run>, Error> {
        let row = sqlx::query("SELECT * FROM runs WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(&mut *self.session.read("reading a run").await?)
            .await
            .map_err(while_doing("reading a run"))?;
        row.as_ref().map(read).transpose()
    }

    /// The run that a request with this key made before.
    pub async fn of_request(&self, request_key: &str) -> Result<Option<Run>, Error> {
        let row = sqlx::query("SELECT * FROM runs WHERE tenant_id = $1 AND request_key = $2")
            .bind(self.tenant.as_str())
            .bind(request_key)
            .fetch_optional(&mut *self.session.read("reading a run").await?)
            .await
            .map_err(while_doing("reading a run"))?;
        row.as_ref().map(read).transpose()
    }

    /// The newest run of a repository.
    pub async fn latest(&self, repository_key: &str) -> Result<Option<Run>, Error> {
        let filter =
            RunFilter { repository: Some(repository_key.to_owned()), ..RunFilter::default() };
        let page = self.list(&filter, &PageRequest::first(1)).await?;
        Ok(page.items.into_iter().next())
    }

    /// The runs that pass the filter, the newest first.
    pub async fn list(
        &self,
        filter: &RunFilter,
        request: &PageRequest,
    ) -> Result<Page<Run>, Error> {
        let (created_at, id) = request.boundary();
        let sha_pattern = filter.sha_prefix.as_ref().map(|prefix| format!("{prefix}%"));
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE tenant_id = $1 AND (created_at, id) < ($2, $3) \
             AND ($4 IS NULL OR repository_key = $4 OR repository = $4) \
             AND ($5 IS NULL OR head_sha LIKE $5) \
             AND ($6 IS NULL OR pull_request_id = $6) \
             AND ($7 IS NULL OR result = $7) \
             ORDER BY created_at DESC, id DESC LIMIT $8",
        )
        .bind(self.tenant.as_str())
        .bind(created_at)
        .bind(id)
        .bind(filter.repository.as_deref())
        .bind(sha_pattern)
        .bind(filter.pull_request.as_deref())
        .bind(filter.result.map(GateResult::as_str))
        .bind(request.fetch_limit())
        .fetch_all(&mut *self.session.read("listing runs").await?)
        .await
        .map_err(while_doing("listing runs"))?;
        let runs = rows.iter().map(read).collect::<Result<Vec<Run>, Error>>()?;
        Ok(Page::of(runs, request, |run| (run.created_at, run.id.to_string())))
    }

    /// The state machine of a run went on. False if the run has ended.
    pub async fn advance(&self, id: RunId, progress: &str) -> Result<bool, Error> {
        const DOING: &str = "writing the progress of a run down";
        let progress = bounded("progress", progress, JSON)?;
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE runs SET progress = $3 WHERE tenant_id = $1 AND id = $2 AND state <> 'ended'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(progress)
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// The runs that have not ended, the oldest first; at most `limit`.
    pub async fn unfinished(&self, limit: u32) -> Result<Vec<Run>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE state IN ('queued', 'running') AND tenant_id = $1 \
             ORDER BY created_at, id LIMIT $2",
        )
        .bind(self.tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing unfinished runs").await?)
        .await
        .map_err(while_doing("listing unfinished runs"))?;
        rows.iter().map(read).collect()
    }

    /// A queued run starts. False if it had started or ended before.
    pub async fn start(
        &self,
        id: RunId,
        isolation: &IsolationSummary,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "starting a run";
        let isolation = text::json("isolation", isolation)?;
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE runs SET state = 'running', started_at = $3, isolation = $4 \
             WHERE tenant_id = $1 AND id = $2 AND state = 'queued'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(now.as_micros())
        .bind(isolation)
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// A run gets its verdict, and keeps it. False if it had one before.
    pub async fn end(
        &self,
        id: RunId,
        result: GateResult,
        approved_snapshot: Option<SnapshotId>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const DOING: &str = "ending a run";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE runs SET state = 'ended', result = $3, ended_at = $4, approved_snapshot_id = $5 \
             WHERE tenant_id = $1 AND id = $2 AND state <> 'ended'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(result.as_str())
        .bind(now.as_micros())
        .bind(approved_snapshot.map(|snapshot| snapshot.to_string()))
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    run: &Run,
) -> Result<(), Error> {
    let isolation =
        run.isolation.as_ref().map(|summary| text::json("isolation", summary)).transpose()?;
    sqlx::query(
        "INSERT INTO runs (tenant_id, id, repository, repository_key, head_sha, base_sha, branch, \
         dirty, plan, progress, pull_request_id, request_key, generation, state, result, isolation, \
         unsupported, created_at, started_at, ended_at, approved_snapshot_id) VALUES \
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21)",
    )
    .bind(tenant.as_str())
    .bind(run.id.to_string())
    .bind(bounded("repository", &run.repository, PATH)?)
    .bind(bounded("repository key", &run.repository_key, PATH)?)
    .bind(bounded("head sha", &run.head_sha, NAME)?)
    .bind(bounded_option("base sha", run.base_sha.as_deref(), NAME)?)
    .bind(bounded_option("branch", run.branch.as_deref(), PATH)?)
    .bind(i64::from(run.dirty))
    .bind(bounded("plan", &run.plan, JSON)?)
    .bind(bounded("progress", &run.progress, JSON)?)
    .bind(bounded_option("pull request", run.pull_request.as_deref(), NAME)?)
    .bind(bounded_option("request key", run.request_key.as_deref(), NAME)?)
    .bind(i64::from(run.generation))
    .bind(run.state.name())
    .bind(run.state.result().map(GateResult::as_str))
    .bind(isolation)
    .bind(text::json("unsupported", &run.unsupported)?)
    .bind(run.created_at.as_micros())
    .bind(run.state.started_at().map(Timestamp::as_micros))
    .bind(run.state.ended_at().map(Timestamp::as_micros))
    .bind(run.approved_snapshot.map(|snapshot| snapshot.to_string()))
    .execute(connection)
    .await
    .map_err(while_doing("writing a run down"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Run, Error> {
    let columns = Columns::of("runs", row);
    Ok(Run {
        id: columns.parsed("id")?,
        tenant: columns.parsed("tenant_id")?,
        repository: columns.text("repository")?,
        repository_key: columns.text("repository_key")?,
        head_sha: columns.text("head_sha")?,
        base_sha: columns.text_option("base_sha")?,
        branch: columns.text_option("branch")?,
        dirty: columns.flag("dirty")?,
        plan: columns.text("plan")?,
        progress: columns.text("progress")?,
        pull_request: columns.text_option("pull_request_id")?,
        request_key: columns.text_option("request_key")?,
        generation: columns.number("generation")?,
        state: read_state(&columns)?,
        isolation: columns.json_option("isolation")?,
        unsupported: columns.json("unsupported")?,
        created_at: columns.time("created_at")?,
        approved_snapshot: columns.parsed_option("approved_snapshot_id")?,
    })
}

fn read_state(columns: &Columns<'_>) -> Result<RunState, Error> {
    match columns.text("state")?.as_str() {
        "queued" => Ok(RunState::Queued),
        "running" => Ok(RunState::Running { started_at: columns.time("started_at")? }),
        "ended" => Ok(RunState::Ended {
            result: columns.parsed("result")?,
            started_at: columns.time_option("started_at")?,
            ended_at: columns.time("ended_at")?,
        }),
        other => Err(columns.problem("state", format_args!("`{other}` is no state"))),
    }
}
