//! Sandboxes that live: written down before they are made and struck out after they are gone, so that whatever a killed
//! process left behind can be found.

use sandgate_domain::{Holder, LayerId, LiveSandbox, SandboxId, TenantId};
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::layers::{self, Wanted};
use crate::row::Columns;
use crate::session::Session;
use crate::text::{self, LAYERS, NAME, PATH, bounded};

/// The sandboxes that live on this machine, of all tenants.
#[derive(Debug, Clone)]
pub struct LiveSandboxes {
    session: Session,
}

impl LiveSandboxes {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Writes a sandbox down, before anything of it is made. Its layers must be complete, and stay while it lives.
    pub async fn insert(&self, sandbox: &LiveSandbox) -> Result<(), Error> {
        const DOING: &str = "writing a sandbox down";
        text::within("layers of a sandbox", sandbox.layers.len(), LAYERS)?;
        let mut transaction = self.session.write(DOING).await?;
        layers::require(&mut transaction, &sandbox.tenant, &sandbox.layers, Wanted::Ready).await?;
        sqlx::query(
            "INSERT INTO live_sandboxes (tenant_id, id, run_id, step_id, holder_pid, \
             holder_boot_id, holder_start_ticks, scratch, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(sandbox.tenant.as_str())
        .bind(sandbox.id.to_string())
        .bind(sandbox.run.map(|run| run.to_string()))
        .bind(sandbox.step.map(|step| step.to_string()))
        .bind(i64::from(sandbox.holder.pid))
        .bind(bounded("boot id", &sandbox.holder.boot_id, NAME)?)
        .bind(text::integer("process start", sandbox.holder.start_ticks)?)
        .bind(bounded("scratch folder", &sandbox.scratch, PATH)?)
        .bind(sandbox.created_at.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        for (position, layer) in sandbox.layers.iter().enumerate() {
            sqlx::query(
                "INSERT INTO live_sandbox_layers (tenant_id, sandbox_id, position, layer_id) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(sandbox.tenant.as_str())
            .bind(sandbox.id.to_string())
            .bind(position as i64)
            .bind(layer.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        }
        transaction.commit().await.map_err(while_doing(DOING))
    }

    /// Strikes a sandbox out, after all of it is gone. False if it was not written down.
    pub async fn remove(&self, tenant: &TenantId, id: SandboxId) -> Result<bool, Error> {
        const DOING: &str = "striking a sandbox out";
        let mut transaction = self.session.write(DOING).await?;
        sqlx::query("DELETE FROM live_sandbox_layers WHERE tenant_id = $1 AND sandbox_id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        let removed = sqlx::query("DELETE FROM live_sandboxes WHERE tenant_id = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(removed.rows_affected() > 0)
    }

    /// All sandboxes that are written down, the oldest first.
    pub async fn list(&self) -> Result<Vec<LiveSandbox>, Error> {
        let rows = sqlx::query("SELECT * FROM live_sandboxes ORDER BY created_at, id")
            .fetch_all(&mut *self.session.read("listing live sandboxes").await?)
            .await
            .map_err(while_doing("listing live sandboxes"))?;
        let mut sandboxes = Vec::with_capacity(rows.len());
        for row in &rows {
            sandboxes.push(self.read(row).await?);
        }
        Ok(sandboxes)
    }

    async fn read(&self, row: &SqliteRow) -> Result<LiveSandbox, Error> {
        let columns = Columns::of("live_sandboxes", row);
        let id = columns.parsed("id")?;
        let tenant = columns.parsed("tenant_id")?;
        Ok(LiveSandbox {
            id,
            run: columns.parsed_option("run_id")?,
            step: columns.parsed_option("step_id")?,
            holder: Holder {
                pid: columns.number("holder_pid")?,
                boot_id: columns.text("holder_boot_id")?,
                start_ticks: columns.number("holder_start_ticks")?,
            },
            scratch: columns.text("scratch")?,
            layers: self.read_layers(&tenant, id).await?,
            created_at: columns.time("created_at")?,
            tenant,
        })
    }

    async fn read_layers(&self, tenant: &TenantId, id: SandboxId) -> Result<Vec<LayerId>, Error> {
        let rows = sqlx::query(
            "SELECT layer_id FROM live_sandbox_layers WHERE tenant_id = $1 AND sandbox_id = $2 \
             ORDER BY position",
        )
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_all(&mut *self.session.read("reading the layers of a sandbox").await?)
        .await
        .map_err(while_doing("reading the layers of a sandbox"))?;
        rows.iter().map(|row| Columns::of("live_sandbox_layers", row).parsed("layer_id")).collect()
    }
}
