//! Layers: each key built once, by one builder at a time, and removed only when nothing stands on it.

mod builds;

use std::collections::{BTreeSet, HashSet};

use sandgate_domain::{
    Layer, LayerContent, LayerId, LayerKind, LayerState, TenantId, Timestamp, TrustTier,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, while_doing};
use crate::row::Columns;
use crate::session::Session;

pub use builds::{BuildClaim, LayerRequest};

/// The layers of a tenant.
#[derive(Debug, Clone)]
pub struct Layers {
    session: Session,
    tenant: TenantId,
}

impl Layers {
    pub(crate) fn new(session: Session, tenant: TenantId) -> Self {
        Self { session, tenant }
    }

    /// One layer.
    pub async fn get(&self, id: LayerId) -> Result<Option<Layer>, Error> {
        let row = sqlx::query("SELECT * FROM layers WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(&mut *self.session.read("reading a layer").await?)
            .await
            .map_err(while_doing("reading a layer"))?;
        row.as_ref().map(read).transpose()
    }

    /// The layer with this key, being built or ready.
    pub async fn find(
        &self,
        tier: TrustTier,
        kind: LayerKind,
        key: &str,
    ) -> Result<Option<Layer>, Error> {
        let row = sqlx::query(
            "SELECT * FROM layers WHERE tenant_id = $1 AND tier = $2 AND kind = $3 \
             AND layer_key = $4 AND state <> 'deleted'",
        )
        .bind(self.tenant.as_str())
        .bind(tier.as_str())
        .bind(kind.as_str())
        .bind(key)
        .fetch_optional(&mut *self.session.read("looking a layer up").await?)
        .await
        .map_err(while_doing("looking a layer up"))?;
        row.as_ref().map(read).transpose()
    }

    /// The layers that are there or on the way, of all tenants: they share the disk.
    pub async fn known(&self) -> Result<HashSet<LayerId>, Error> {
        let rows = sqlx::query("SELECT id FROM layers WHERE state <> 'deleted'")
            .fetch_all(&mut *self.session.read("listing layers").await?)
            .await
            .map_err(while_doing("listing layers"))?;
        rows.iter().map(|row| Columns::of("layers", row).parsed("id")).collect()
    }

    /// The layers that must stay: those of snapshots that are not deleted, and those below sandboxes that live.
    pub async fn in_use(&self) -> Result<BTreeSet<LayerId>, Error> {
        let rows = sqlx::query(
            "SELECT used.layer_id AS id FROM snapshot_layers used JOIN snapshots snapshot \
             ON snapshot.tenant_id = used.tenant_id AND snapshot.id = used.snapshot_id \
             WHERE used.tenant_id = $1 AND snapshot.state <> 'deleted' \
             UNION SELECT layer_id AS id FROM live_sandbox_layers WHERE tenant_id = $1",
        )
        .bind(self.tenant.as_str())
        .fetch_all(&mut *self.session.read("listing layers in use").await?)
        .await
        .map_err(while_doing("listing layers in use"))?;
        rows.iter().map(|row| Columns::of("layers", row).parsed("id")).collect()
    }

    /// Complete layers that nothing stands on, and builds that nobody holds any more, the longest unused first; at most
    /// `limit`.
    pub async fn unused(&self, now: Timestamp, limit: u32) -> Result<Vec<Layer>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM layers WHERE tenant_id = $1 \
             AND (state = 'ready' OR (state = 'building' AND lease_until <= $2)) \
             AND NOT EXISTS (SELECT 1 FROM snapshot_layers used JOIN snapshots snapshot \
             ON snapshot.tenant_id = used.tenant_id AND snapshot.id = used.snapshot_id \
             WHERE used.tenant_id = layers.tenant_id AND used.layer_id = layers.id \
             AND snapshot.state <> 'deleted') \
             AND NOT EXISTS (SELECT 1 FROM live_sandbox_layers used \
             WHERE used.tenant_id = layers.tenant_id AND used.layer_id = layers.id) \
             ORDER BY last_used_at, id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing unused layers").await?)
        .await
        .map_err(while_doing("listing unused layers"))?;
        rows.iter().map(read).collect()
    }

    /// Marks a layer as removed and gives its key free, unless something stands on it or somebody builds it: then false.
    /// Remove the files only after a true.
    pub async fn delete(&self, id: LayerId, now: Timestamp) -> Result<bool, Error> {
        const DOING: &str = "deleting a layer";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE layers SET state = 'deleted', deleted_at = $3, owner = NULL, \
             lease_until = NULL WHERE tenant_id = $1 AND id = $2 \
             AND (state = 'ready' OR (state = 'building' AND lease_until <= $3)) \
             AND NOT EXISTS (SELECT 1 FROM snapshot_layers used JOIN snapshots snapshot \
             ON snapshot.tenant_id = used.tenant_id AND snapshot.id = used.snapshot_id \
             WHERE used.tenant_id = layers.tenant_id AND used.layer_id = layers.id \
             AND snapshot.state <> 'deleted') \
             AND NOT EXISTS (SELECT 1 FROM live_sandbox_layers used \
             WHERE used.tenant_id = layers.tenant_id AND used.layer_id = layers.id)",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }

    /// Gives the key of a ready layer free, so that it is built anew under another id: its files are lost or damaged. What
    /// stands on it keeps standing on it. False if it had no key, or is not ready.
    pub async fn give_up_key(&self, id: LayerId) -> Result<bool, Error> {
        const DOING: &str = "giving up the key of a layer";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE layers SET layer_key = NULL WHERE tenant_id = $1 AND id = $2 \
             AND state = 'ready' AND layer_key IS NOT NULL",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(changed.rows_affected() > 0)
    }
}

/// Refuses a stack of which a layer is gone, so that a reference and a removal can't cross.
pub(crate) async fn require(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    layers: &[LayerId],
    wanted: Wanted,
) -> Result<(), Error> {
    let sql = match wanted {
        Wanted::Ready => {
            "SELECT 1 FROM layers WHERE tenant_id = $1 AND id = $2 AND state = 'ready'"
        }
        Wanted::NotDeleted => {
            "SELECT 1 FROM layers WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'"
        }
    };
    for layer in layers {
        sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(layer.to_string())
            .fetch_optional(&mut *connection)
            .await
            .map_err(while_doing("checking layers"))?
            .ok_or(Error::LayerGone { layer: *layer })?;
    }
    Ok(())
}

/// What is asked of the layers of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// Complete.
    Ready,
    /// Complete, or on the way.
    NotDeleted,
}

fn read(row: &SqliteRow) -> Result<Layer, Error> {
    let columns = Columns::of("layers", row);
    Ok(Layer {
        id: columns.parsed("id")?,
        tenant: columns.parsed("tenant_id")?,
        tier: columns.parsed("tier")?,
        kind: columns.parsed("kind")?,
        key: columns.text_option("layer_key")?,
        state: read_state(&columns)?,
        base_fingerprint: columns.text("base_fingerprint")?,
        created_at: columns.time("created_at")?,
        last_used_at: columns.time("last_used_at")?,
    })
}

fn read_state(columns: &Columns<'_>) -> Result<LayerState, Error> {
    match columns.text("state")?.as_str() {
        "building" => Ok(LayerState::Building {
            owner: columns.text("owner")?,
            lease_until: columns.time("lease_until")?,
            fence: columns.number("fence")?,
        }),
        "ready" => Ok(LayerState::Ready(LayerContent {
            digest: columns.text("digest")?,
            bytes: columns.number("bytes")?,
            files: columns.number("files")?,
        })),
        "deleted" => Ok(LayerState::Deleted { deleted_at: columns.time("deleted_at")? }),
        other => Err(columns.problem("state", format_args!("`{other}` is no state"))),
    }
}
