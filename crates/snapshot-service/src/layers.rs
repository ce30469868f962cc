//! Whose turn it is to build a layer, and which layers may be removed.

use std::collections::BTreeSet;
use std::time::Duration;

use sandgate_domain::{Layer, LayerContent, LayerId, LayerKind, LayerState, TrustTier};
use sandgate_store::{BuildClaim, LayerRequest};

use crate::{Error, SnapshotService};

/// How long a build is held without a sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// How often somebody who waits for a build of another process asks again.
const POLL: Duration = Duration::from_millis(100);
/// How many builds of processes that are gone are given up at a time; the others wait for the end of their leases.
const BUILDS_AT_ONCE: u32 = 1000;
/// How many layers that a kill left are removed at a time; the others go with the next start.
const LEFT_AT_ONCE: u32 = 10_000;

/// Longer than a run is expected to take: one gate may take a day, and others may start in its files.
const LONGEST_RUN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A layer that somebody needs.
#[derive(Debug, Clone)]
pub struct LayerWanted {
    /// What it holds.
    pub kind: LayerKind,
    /// What it is built from; none: it is made in any case, and never found again.
    pub key: Option<String>,
    /// Who may use it.
    pub tier: TrustTier,
    /// The fingerprint of the base that it is made on.
    pub base_fingerprint: String,
}

/// The answer to somebody who needs a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerTurn {
    /// It is there.
    Ready(LayerId),
    /// The caller builds it, and then finishes or abandons the build.
    Build {
        /// The id that the layer gets.
        layer: LayerId,
        /// The number of this build.
        fence: u64,
    },
}

impl SnapshotService {
    /// The same, where the process of an owner can be asked for: who waits for a build then need not wait for the end of the
    /// lease of a builder that is gone.
    pub fn asking(self, is_gone: fn(&str) -> bool) -> Self {
        Self { is_gone, ..self }
    }

    /// Asks for a layer, and waits while another process builds it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn take_turn(&self, wanted: &LayerWanted) -> Result<LayerTurn, Error> {
        let request = LayerRequest {
            id: LayerId::new(&*self.ids),
            tier: wanted.tier,
            kind: wanted.kind,
            key: wanted.key.clone(),
            base_fingerprint: wanted.base_fingerprint.clone(),
        };
        let layers = self.store.layers(&self.tenant);
        loop {
            let now = self.clock.now();
            match layers.claim_build(&request, &self.owner, now, LEASE).await? {
                BuildClaim::Built(layer) => return Ok(LayerTurn::Ready(layer.id)),
                BuildClaim::Claimed { layer, fence, .. } => {
                    sandgate_domain::fail_point::reached("layer.claimed");
                    return Ok(LayerTurn::Build { layer, fence });
                }
                BuildClaim::InFlight { owner, .. } if (self.is_gone)(&owner) => {
                    self.release_builds(self.is_gone).await?;
                }
                BuildClaim::InFlight { .. } => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// The ready layer with this key, if there is one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn find_layer(&self, wanted: &LayerWanted) -> Result<Option<LayerId>, Error> {
        let Some(key) = &wanted.key else { return Ok(None) };
        let found = self.store.layers(&self.tenant).find(wanted.tier, wanted.kind, key).await?;
        Ok(found.filter(|layer| matches!(layer.state, LayerState::Ready(_))).map(|layer| layer.id))
    }

    /// Holds a build for longer.
    ///
    /// # Errors
    /// If another process took the build over meanwhile, or the database refuses.
    pub async fn renew_build(&self, layer: LayerId, fence: u64) -> Result<(), Error> {
        let layers = self.store.layers(&self.tenant);
        layers.renew_build(layer, fence, self.clock.now(), LEASE).await?;
        Ok(())
    }

    /// The layer is complete.
    ///
    /// # Errors
    /// If another process took the build over meanwhile, or the database refuses.
    pub async fn finish_layer(
        &self,
        layer: LayerId,
        fence: u64,
        content: &LayerContent,
    ) -> Result<(), Error> {
        let layers = self.store.layers(&self.tenant);
        Ok(layers.finish_build(layer, fence, content, self.clock.now()).await?)
    }

    /// The layer will not be built by the caller; the next who asks builds at once.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn abandon_layer(&self, layer: LayerId, fence: u64) -> Result<(), Error> {
        Ok(self.store.layers(&self.tenant).abandon_build(layer, fence).await?)
    }

    /// Takes the builds whose owner is gone out of the records, so that nobody waits for the end of their leases and nothing
    /// is left of them; how many.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn release_builds(
        &self,
        is_gone: impl Fn(&str) -> bool + Send,
    ) -> Result<usize, Error> {
        let layers = self.store.layers(&self.tenant);
        let mut released = 0;
        for layer in layers.builds(BUILDS_AT_ONCE).await? {
            let LayerState::Building { owner, fence, .. } = &layer.state else { continue };
            if !is_gone(owner) {
                continue;
            }
            match layers.abandon_build(layer.id, *fence).await {
                Ok(()) => {}
                // Somebody took it over since.
                Err(sandgate_store::Error::StaleFence { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            released += usize::from(self.forget_layer(layer.id).await?);
        }
        Ok(released)
    }

    /// A ready layer turned out to be missing or damaged: its key becomes free, so that it is built again. Snapshots that
    /// stand on it are not given other files in its place.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn give_up_layer(&self, layer: LayerId) -> Result<bool, Error> {
        Ok(self.store.layers(&self.tenant).give_up_key(layer).await?)
    }

    /// Takes a layer out of the books, unless something stands on it; its files may be removed then.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn forget_layer(&self, layer: LayerId) -> Result<bool, Error> {
        Ok(self.store.layers(&self.tenant).delete(layer, self.clock.now()).await?)
    }

    /// Takes those of the layers out of the records that nobody can find, as they have no key, and that nothing stands on
    /// any more. Their files are the caller's to remove.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn forget_unfindable(&self, layers: &[LayerId]) -> Result<Vec<LayerId>, Error> {
        let rows = self.store.layers(&self.tenant);
        let mut forgotten = Vec::new();
        for id in layers {
            let is_unfindable = rows.get(*id).await?.is_some_and(|layer| layer.key.is_none());
            if is_unfindable && rows.delete(*id, self.clock.now()).await? {
                sandgate_domain::fail_point::reached("layer.forgotten");
                forgotten.push(*id);
            }
        }
        Ok(forgotten)
    }

    /// Takes all layers out of the records that nobody can find and nothing stands on, but for those that unfinished runs
    /// need. Only for a process that has the folder to itself: what others have just made is not known yet. Their files are
    /// the caller's to remove.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn forget_left(&self, needed: &BTreeSet<LayerId>) -> Result<Vec<LayerId>, Error> {
        let now = self.clock.now();
        let unused = self.store.layers(&self.tenant).unused(now, LEFT_AT_ONCE).await?;
        let left: Vec<LayerId> =
            unused.iter().map(|layer| layer.id).filter(|id| !needed.contains(id)).collect();
        self.forget_unfindable(&left).await
    }

    /// Layers that may be removed, at most `limit`: nothing stands on them, and nobody used them for `idle`. Those without a
    /// key stay for the longest that a run can take, since a gate that starts in them may still be to come.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn removable_layers(&self, idle: Duration, limit: u32) -> Result<Vec<Layer>, Error> {
        let now = self.clock.now();
        let unused = self.store.layers(&self.tenant).unused(now, limit).await?;
        let may_go = |layer: &Layer| {
            let patience = if layer.key.is_none() { LONGEST_RUN } else { idle };
            now.since(layer.last_used_at) >= patience
        };
        Ok(unused.into_iter().filter(may_go).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sandgate_domain::TenantId;
    use sandgate_store::Store;
    use sandgate_testkit::{CountingIds, MockClock};

    use super::*;

    #[tokio::test]
    async fn a_builder_that_was_killed_is_followed_at_once_and_a_living_one_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let clock = MockClock::default();
        let store = Store::open(&folder.path().join("state.db"), &clock).await.unwrap();
        let ids = Arc::new(CountingIds::default());
        let service = |owner: &str| {
            let (tenant, clock) = (TenantId::default(), Arc::new(clock.clone()));
            SnapshotService::new(store.clone(), tenant, clock, ids.clone(), owner.to_owned())
        };
        let wanted = LayerWanted {
            kind: LayerKind::Setup,
            key: Some("key".to_owned()),
            tier: TrustTier::Member,
            base_fingerprint: "host:1".to_owned(),
        };
        let LayerTurn::Build { layer, fence } = service("killed").take_turn(&wanted).await.unwrap()
        else {
            panic!("the first one builds")
        };

        let living = service("another").asking(|owner| owner == "somebody else");
        let waiting = tokio::time::timeout(POLL * 3, living.take_turn(&wanted));
        assert!(waiting.await.is_err(), "a living builder is waited for");

        // The clock stands still: no lease runs out.
        let asking = service("another").asking(|owner| owner == "killed");
        let turn = tokio::time::timeout(Duration::from_secs(20), asking.take_turn(&wanted));
        let LayerTurn::Build { layer: own, fence: build } = turn.await.unwrap().unwrap() else {
            panic!("who follows builds")
        };
        assert_ne!(own, layer, "nothing of the killed build is built upon");
        let content = LayerContent { digest: "blake3:00".to_owned(), bytes: 1, files: 1 };
        assert!(service("killed").finish_layer(layer, fence, &content).await.is_err());
        asking.finish_layer(own, build, &content).await.unwrap();
    }
}
