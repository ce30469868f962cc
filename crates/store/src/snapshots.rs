//! Snapshots: their layers, how to enter them, and when they may go.

use sandgate_domain::{LayerId, RunId, Snapshot, SnapshotId, SnapshotState, TenantId, Timestamp};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::layers::{self, Wanted};
use crate::page::{Page, PageRequest};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{self, LAYERS, NAME, PATH, bounded, bounded_option};

/// The snapshots of a tenant.
#[derive(Debug, Clone)]
pub struct Snapshots {
    session: Session,
    tenant: TenantId,
}

impl Snapshots {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// Writes a snapshot down, with its layers; from then on they stay. Layers may still be being built, but not deleted.
    pub async fn create(&self, snapshot: &Snapshot) -> Result<(), Error> {
        const DOING: &str = "writing a snapshot down";
        text::within("layers of a snapshot", snapshot.layers.len(), LAYERS)?;
        let mut transaction = self.session.write(DOING).await?;
        layers::require(&mut transaction, &self.tenant, &snapshot.layers, Wanted::NotDeleted)
            .await?;
        insert(&mut transaction, &self.tenant, snapshot).await?;
        for (position, layer) in snapshot.layers.iter().enumerate() {
            sqlx::query(
                "INSERT INTO snapshot_layers (tenant_id, snapshot_id, position, layer_id) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(self.tenant.as_str())
            .bind(snapshot.id.to_string())
            .bind(position as i64)
            .bind(layer.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        }
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// All layers of a snapshot are complete and hold `bytes`. False if it was not being sealed.
    pub async fn sealed(&self, id: SnapshotId, bytes: u64) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE snapshots SET state = 'local', bytes = $3 \
             WHERE tenant_id = $1 AND id = $2 AND state = 'sealing'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("bytes", bytes)?);
        self.change("sealing a snapshot", query).await
    }

    /// Keeps a snapshot whatever its time to live says, or no longer. False if it is deleted or unknown.
    pub async fn pin(&self, id: SnapshotId, pinned: bool) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE snapshots SET pinned = $3 \
             WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(i64::from(pinned));
        self.change("pinning a snapshot", query).await
    }

    /// Marks a snapshot as removed, pinned or not; its layers may go then. False if it was deleted before or is unknown.
    pub async fn delete(&self, id: SnapshotId, now: Timestamp) -> Result<bool, Error> {
        let query = sqlx::query(
            "UPDATE snapshots SET state = 'deleted', deleted_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(now.as_micros());
        self.change("deleting a snapshot", query).await
    }

    /// Marks snapshots as removed that are expired and not pinned; their ids, at most `limit`.
    pub async fn prune(&self, now: Timestamp, limit: u32) -> Result<Vec<SnapshotId>, Error> {
        const SQL: &str = "UPDATE snapshots SET state = 'deleted', deleted_at = $2 \
            WHERE tenant_id = $1 AND id IN (SELECT id FROM snapshots WHERE tenant_id = $1 \
            AND state = 'local' AND pinned = 0 AND expires_at <= $3 ORDER BY expires_at LIMIT $4) \
            RETURNING id";
        self.expire(SQL, now, now, limit).await
    }

    /// Marks approved snapshots as removed that were made before `before`, are not pinned, and are not the newest one of
    /// their repository and branch; their ids, at most `limit`.
    pub async fn prune_approved(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SnapshotId>, Error> {
        const SQL: &str = "UPDATE snapshots SET state = 'deleted', deleted_at = $2 \
            WHERE tenant_id = $1 AND id IN (SELECT old.id FROM snapshots old \
            JOIN runs old_run ON old_run.tenant_id = old.tenant_id AND old_run.id = old.run_id \
            WHERE old.tenant_id = $1 AND old.kind = 'approved' AND old.state = 'local' \
            AND old.pinned = 0 AND old.created_at < $3 AND EXISTS (SELECT 1 FROM snapshots newer \
            JOIN runs newer_run ON newer_run.tenant_id = newer.tenant_id \
            AND newer_run.id = newer.run_id WHERE newer.tenant_id = $1 \
            AND newer.repository_key = old.repository_key AND newer.kind = 'approved' \
            AND newer.state = 'local' \
            AND COALESCE(newer_run.branch, '') = COALESCE(old_run.branch, '') \
            AND (newer.created_at, newer.id) > (old.created_at, old.id)) \
            ORDER BY old.created_at LIMIT $4) RETURNING id";
        self.expire(SQL, now, before, limit).await
    }

    async fn expire(
        &self,
        sql: &'static str,
        now: Timestamp,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<SnapshotId>, Error> {
        const DOING: &str = "pruning snapshots";
        let mut transaction = self.session.write(DOING).await?;
        let rows = sqlx::query(sql)
            .bind(self.tenant.as_str())
            .bind(now.as_micros())
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("snapshots", row).parsed("id")).collect()
    }

    /// The snapshots that neither a step nor a run leads to.
    pub async fn unreferenced(&self) -> Result<Vec<SnapshotId>, Error> {
        const DOING: &str = "looking for snapshots that nothing leads to";
        let rows = sqlx::query(
            "SELECT id FROM snapshots snapshot WHERE tenant_id = $1 AND state = 'local' \
             AND NOT EXISTS (SELECT 1 FROM steps \
             WHERE steps.tenant_id = snapshot.tenant_id AND steps.run_id = snapshot.run_id \
             AND steps.snapshot_id = snapshot.id) \
             AND NOT EXISTS (SELECT 1 FROM runs \
             WHERE runs.tenant_id = snapshot.tenant_id AND runs.id = snapshot.run_id \
             AND runs.approved_snapshot_id = snapshot.id)",
        )
        .bind(self.tenant.as_str())
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("snapshots", row).parsed("id")).collect()
    }

    /// One snapshot, deleted or not.
    pub async fn get(&self, id: SnapshotId) -> Result<Option<Snapshot>, Error> {
        let row = sqlx::query("SELECT * FROM snapshots WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(&mut *self.session.read("reading a snapshot").await?)
            .await
            .map_err(while_doing("reading a snapshot"))?;
        match row {
            Some(row) => self.read(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The snapshots of a run that are not deleted, the oldest first.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<Snapshot>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM snapshots WHERE tenant_id = $1 AND run_id = $2 AND state <> 'deleted' \
             ORDER BY created_at, id",
        )
        .bind(self.tenant.as_str())
        .bind(run.to_string())
        .fetch_all(&mut *self.session.read("listing the snapshots of a run").await?)
        .await
        .map_err(while_doing("listing the snapshots of a run"))?;
        self.read_all(&rows).await
    }

    /// The snapshots whose sealing was begun before `before` and never ended: their process was killed. At most `limit`.
    pub async fn unsealed(&self, before: Timestamp, limit: u32) -> Result<Vec<Snapshot>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM snapshots WHERE tenant_id = $1 AND state = 'sealing' \
             AND created_at < $2 ORDER BY created_at, id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing unsealed snapshots").await?)
        .await
        .map_err(while_doing("listing unsealed snapshots"))?;
        self.read_all(&rows).await
    }

    /// The snapshots of one repository or of all that are not deleted, the newest first.
    pub async fn list(
        &self,
        repository_key: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Snapshot>, Error> {
        let (created_at, id) = request.boundary();
        let query = match repository_key {
            Some(key) => sqlx::query(
                "SELECT * FROM snapshots WHERE tenant_id = $1 AND repository_key = $2 \
                 AND state <> 'deleted' AND (created_at, id) < ($3, $4) \
                 ORDER BY created_at DESC, id DESC LIMIT $5",
            )
            .bind(self.tenant.as_str())
            .bind(key),
            None => sqlx::query(
                "SELECT * FROM snapshots WHERE tenant_id = $1 \
                 AND state <> 'deleted' AND (created_at, id) < ($2, $3) \
                 ORDER BY created_at DESC, id DESC LIMIT $4",
            )
            .bind(self.tenant.as_str()),
        };
        let rows = query
            .bind(created_at)
            .bind(id)
            .bind(request.fetch_limit())
            .fetch_all(&mut *self.session.read("listing snapshots").await?)
            .await
            .map_err(while_doing("listing snapshots"))?;
        let snapshots = self.read_all(&rows).await?;
        Ok(Page::of(snapshots, request, |one| (one.created_at, one.id.to_string())))
    }

    async fn change(
        &self,
        doing: &'static str,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<bool, Error> {
        let mut transaction = self.session.write(doing).await?;
        let changed = query.execute(&mut *transaction).await.map_err(while_doing(doing))?;
        transaction.commit().await.map_err(while_doing(doing))?;
        Ok(changed.rows_affected() > 0)
    }

    async fn read_all(&self, rows: &[SqliteRow]) -> Result<Vec<Snapshot>, Error> {
        let mut snapshots = Vec::with_capacity(rows.len());
        for row in rows {
            snapshots.push(self.read(row).await?);
        }
        Ok(snapshots)
    }

    async fn read(&self, row: &SqliteRow) -> Result<Snapshot, Error> {
        let columns = Columns::of("snapshots", row);
        let id: SnapshotId = columns.parsed("id")?;
        Ok(Snapshot {
            id,
            tenant: columns.parsed("tenant_id")?,
            repository_key: columns.text("repository_key")?,
            run: columns.parsed("run_id")?,
            gate: columns.text_option("gate")?,
            kind: columns.parsed("kind")?,
            state: read_state(&columns)?,
            layers: self.read_layers(id).await?,
            base_fingerprint: columns.text("base_fingerprint")?,
            entry: columns.json("entry")?,
            created_at: columns.time("created_at")?,
            expires_at: columns.time_option("expires_at")?,
            pinned: columns.flag("pinned")?,
        })
    }

    async fn read_layers(&self, snapshot: SnapshotId) -> Result<Vec<LayerId>, Error> {
        const DOING: &str = "reading the layers of a snapshot";
        let rows = sqlx::query(
            "SELECT layer_id FROM snapshot_layers WHERE tenant_id = $1 AND snapshot_id = $2 \
             ORDER BY position",
        )
        .bind(self.tenant.as_str())
        .bind(snapshot.to_string())
        .fetch_all(&mut *self.session.read(DOING).await?)
        .await
        .map_err(while_doing(DOING))?;
        rows.iter().map(|row| Columns::of("snapshot_layers", row).parsed("layer_id")).collect()
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    snapshot: &Snapshot,
) -> Result<(), Error> {
    let (bytes, deleted_at) = match snapshot.state {
        SnapshotState::Sealing => (None, None),
        SnapshotState::Local { bytes } => (Some(text::integer("bytes", bytes)?), None),
        SnapshotState::Deleted { deleted_at } => (None, Some(deleted_at.as_micros())),
    };
    sqlx::query(
        "INSERT INTO snapshots (tenant_id, id, repository_key, run_id, gate, kind, state, bytes, \
         base_fingerprint, entry, created_at, expires_at, deleted_at, pinned) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(tenant.as_str())
    .bind(snapshot.id.to_string())
    .bind(bounded("repository key", &snapshot.repository_key, PATH)?)
    .bind(snapshot.run.to_string())
    .bind(bounded_option("gate", snapshot.gate.as_deref(), NAME)?)
    .bind(snapshot.kind.as_str())
    .bind(snapshot.state.name())
    .bind(bytes)
    .bind(bounded("base fingerprint", &snapshot.base_fingerprint, NAME)?)
    .bind(text::json("entry", &snapshot.entry)?)
    .bind(snapshot.created_at.as_micros())
    .bind(snapshot.expires_at.map(Timestamp::as_micros))
    .bind(deleted_at)
    .bind(i64::from(snapshot.pinned))
    .execute(connection)
    .await
    .map_err(while_doing("writing a snapshot down"))?;
    Ok(())
}

fn read_state(columns: &Columns<'_>) -> Result<SnapshotState, Error> {
    match columns.text("state")?.as_str() {
        "sealing" => Ok(SnapshotState::Sealing),
        "local" => Ok(SnapshotState::Local { bytes: columns.number("bytes")? }),
        "deleted" => Ok(SnapshotState::Deleted { deleted_at: columns.time("deleted_at")? }),
        other => Err(columns.problem("state", format_args!("`{other}` is no state"))),
    }
}
