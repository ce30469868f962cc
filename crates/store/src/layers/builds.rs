//! Building a layer, single flight: one builder a key; a builder that vanished is replaced when its lease has run out.

use std::time::Duration;

use sandgate_domain::{Layer, LayerContent, LayerId, LayerKind, LayerState, Timestamp, TrustTier};
use sqlx::SqliteConnection;

use super::{Layers, read};
use crate::error::{Error, while_doing};
use crate::text::{self, NAME, bounded, bounded_option};

/// A layer that somebody needs.
#[derive(Debug, Clone)]
pub struct LayerRequest {
    /// The id that it gets if it has to be built anew.
    pub id: LayerId,
    /// Who may use it.
    pub tier: TrustTier,
    /// What it holds.
    pub kind: LayerKind,
    /// What it is built from. None: it is built in any case.
    pub key: Option<String>,
    /// The fingerprint of the machine or image that it is made on.
    pub base_fingerprint: String,
}

/// The answer to a [`LayerRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildClaim {
    /// It is there.
    Built(Layer),
    /// You build it. What you write must carry the fence, as another builder may follow on the same layer.
    Claimed {
        /// The layer, with the id asked for or that of a build that was given up.
        layer: LayerId,
        /// The number of this build.
        fence: u64,
        /// Until when, if not renewed.
        lease_until: Timestamp,
    },
    /// Somebody else builds it; ask again when that is done, at the latest at `until`.
    InFlight {
        /// The layer.
        layer: LayerId,
        /// Who builds it.
        owner: String,
        /// The end of the lease.
        until: Timestamp,
    },
}

impl Layers {
    /// Asks for a layer: it is there, or you build it, or somebody does. A layer that is there counts as used now.
    pub async fn claim_build(
        &self,
        request: &LayerRequest,
        owner: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<BuildClaim, Error> {
        const DOING: &str = "claiming the build of a layer";
        let mut transaction = self.session.write(DOING).await?;
        let lease_until = now.plus(lease);
        let claim = match self.find_for_build(&mut transaction, request).await? {
            None => {
                self.insert_build(&mut transaction, request, owner, now, lease_until).await?;
                BuildClaim::Claimed { layer: request.id, fence: 1, lease_until }
            }
            Some(layer) => match &layer.state {
                LayerState::Building { owner, lease_until: until, .. } if *until > now => {
                    BuildClaim::InFlight { layer: layer.id, owner: owner.clone(), until: *until }
                }
                LayerState::Building { fence, .. } => {
                    let fence = fence + 1;
                    self.take_over(&mut transaction, layer.id, owner, fence, lease_until).await?;
                    BuildClaim::Claimed { layer: layer.id, fence, lease_until }
                }
                LayerState::Ready(_) | LayerState::Deleted { .. } => {
                    self.touch(&mut transaction, layer.id, now).await?;
                    BuildClaim::Built(Layer { last_used_at: now, ..layer })
                }
            },
        };
        transaction.commit().await.map_err(while_doing(DOING))?;
        Ok(claim)
    }

    /// Holds a build for `lease` from now on; the new end.
    pub async fn renew_build(
        &self,
        id: LayerId,
        fence: u64,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Timestamp, Error> {
        const DOING: &str = "renewing the build of a layer";
        let lease_until = now.plus(lease);
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE layers SET lease_until = $5 WHERE tenant_id = $1 AND id = $2 AND fence = $3 \
             AND state = 'building' AND lease_until > $4",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(now.as_micros())
        .bind(lease_until.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        held(changed.rows_affected(), id, fence)?;
        Ok(lease_until)
    }

    /// The layer is complete, with its files in place. Told again by the same builder, nothing changes.
    pub async fn finish_build(
        &self,
        id: LayerId,
        fence: u64,
        content: &LayerContent,
        now: Timestamp,
    ) -> Result<(), Error> {
        const DOING: &str = "finishing a layer";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE layers SET state = 'ready', owner = NULL, lease_until = NULL, digest = $4, \
             bytes = $5, files = $6, last_used_at = $7 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'building'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .bind(bounded("digest", &content.digest, NAME)?)
        .bind(text::integer("bytes", content.bytes)?)
        .bind(text::integer("files", content.files)?)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        if changed.rows_affected() > 0 {
            return transaction.commit().await.map_err(while_doing(DOING));
        }
        let repeated = sqlx::query(
            "SELECT 1 FROM layers \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'ready'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .fetch_all(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        held(repeated.len() as u64, id, fence)
    }

    /// The builds under way, by whomever; at most `limit`.
    pub async fn builds(&self, limit: u32) -> Result<Vec<Layer>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM layers WHERE tenant_id = $1 AND state = 'building' ORDER BY id LIMIT $2",
        )
        .bind(self.tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.session.read("listing the builds under way").await?)
        .await
        .map_err(while_doing("listing the builds under way"))?;
        rows.iter().map(read).collect()
    }

    /// The builder gives up; the next who asks builds at once.
    pub async fn abandon_build(&self, id: LayerId, fence: u64) -> Result<(), Error> {
        const DOING: &str = "abandoning the build of a layer";
        let mut transaction = self.session.write(DOING).await?;
        let changed = sqlx::query(
            "UPDATE layers SET lease_until = 0 \
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'building'",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(text::integer("fence", fence)?)
        .execute(&mut *transaction)
        .await
        .map_err(while_doing(DOING))?;
        transaction.commit().await.map_err(while_doing(DOING))?;
        held(changed.rows_affected(), id, fence)
    }

    async fn find_for_build(
        &self,
        connection: &mut SqliteConnection,
        request: &LayerRequest,
    ) -> Result<Option<Layer>, Error> {
        let Some(key) = &request.key else { return Ok(None) };
        let row = sqlx::query(
            "SELECT * FROM layers WHERE tenant_id = $1 AND tier = $2 AND kind = $3 \
             AND layer_key = $4 AND state <> 'deleted'",
        )
        .bind(self.tenant.as_str())
        .bind(request.tier.as_str())
        .bind(request.kind.as_str())
        .bind(bounded("layer key", key, NAME)?)
        .fetch_optional(connection)
        .await
        .map_err(while_doing("looking a layer up"))?;
        row.as_ref().map(read).transpose()
    }

    async fn insert_build(
        &self,
        connection: &mut SqliteConnection,
        request: &LayerRequest,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO layers (tenant_id, id, tier, kind, layer_key, state, owner, lease_until, \
             fence, base_fingerprint, created_at, last_used_at) \
             VALUES ($1, $2, $3, $4, $5, 'building', $6, $7, 1, $8, $9, $9)",
        )
        .bind(self.tenant.as_str())
        .bind(request.id.to_string())
        .bind(request.tier.as_str())
        .bind(request.kind.as_str())
        .bind(bounded_option("layer key", request.key.as_deref(), NAME)?)
        .bind(bounded("owner", owner, NAME)?)
        .bind(lease_until.as_micros())
        .bind(bounded("base fingerprint", &request.base_fingerprint, NAME)?)
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map_err(while_doing("writing a layer down"))?;
        Ok(())
    }

    async fn take_over(
        &self,
        connection: &mut SqliteConnection,
        id: LayerId,
        owner: &str,
        fence: u64,
        lease_until: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE layers SET owner = $3, fence = $4, lease_until = $5 \
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(id.to_string())
        .bind(bounded("owner", owner, NAME)?)
        .bind(text::integer("fence", fence)?)
        .bind(lease_until.as_micros())
        .execute(connection)
        .await
        .map_err(while_doing("taking the build of a layer over"))?;
        Ok(())
    }

    async fn touch(
        &self,
        connection: &mut SqliteConnection,
        id: LayerId,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE layers SET last_used_at = $3 WHERE tenant_id = $1 AND id = $2")
            .bind(self.tenant.as_str())
            .bind(id.to_string())
            .bind(now.as_micros())
            .execute(connection)
            .await
            .map_err(while_doing("noting the use of a layer"))?;
        Ok(())
    }
}

fn held(rows: u64, id: LayerId, fence: u64) -> Result<(), Error> {
    if rows == 0 {
        return Err(Error::StaleFence { what: id.to_string(), fence });
    }
    Ok(())
}
