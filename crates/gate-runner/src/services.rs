//! The services that a step needs, over their contracts: layers and snapshots, sandboxes, and the machine.

use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{IsolationLevel, LayerId, LayerKind, TrustTier};
use sandgate_wire::node::v1::node_client::NodeClient;
use sandgate_wire::node::v1::{
    CheckLayerRequest, DescribeReply, DescribeRequest, LayerContent, RemoveLayersRequest,
    check_layer_reply,
};
use sandgate_wire::sandboxes::v1::sandboxes_client::SandboxesClient;
use sandgate_wire::snapshots::v1 as snapshots;
use sandgate_wire::snapshots::v1::layers_client::LayersClient;
use sandgate_wire::snapshots::v1::snapshots_client::SnapshotsClient;
use sandgate_wire::{Connection, required_field};
use tokio::sync::OnceCell;

use crate::error::Error;

/// How often a build is held for longer; much shorter than it is held.
const RENEWAL: Duration = Duration::from_secs(20);
/// The largest message that is taken: one report file, and what is around it.
const MAX_MESSAGE_BYTES: usize = 17 << 20;

/// The services. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub snapshots: SnapshotsClient<Connection>,
    layers: LayersClient<Connection>,
    pub sandboxes: SandboxesClient<Connection>,
    pub node: NodeClient<Connection>,
    facts: Arc<OnceCell<DescribeReply>>,
}

/// A layer that a step needs.
#[derive(Debug, Clone)]
pub(crate) struct LayerWanted {
    pub kind: LayerKind,
    /// What it is built from; none: it is made in any case, and never found again.
    pub key: Option<String>,
    pub tier: TrustTier,
    pub base_fingerprint: String,
}

/// The answer to somebody who needs a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is there.
    Ready(LayerId),
    /// The caller builds it, and then finishes or abandons the build.
    Build(Build),
}

/// A layer that the caller builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Build {
    pub layer: LayerId,
    /// The number of this build.
    pub number: u64,
}

impl LayerWanted {
    fn message(&self) -> Option<snapshots::LayerWanted> {
        Some(snapshots::LayerWanted {
            kind: self.kind.to_string(),
            key: self.key.clone(),
            tier: self.tier.to_string(),
            base_fingerprint: self.base_fingerprint.clone(),
        })
    }
}

impl Services {
    pub fn new(snapshots: Connection, sandboxes: Connection, node: Connection) -> Self {
        Self {
            layers: LayersClient::new(snapshots.clone()),
            snapshots: SnapshotsClient::new(snapshots),
            sandboxes: SandboxesClient::new(sandboxes),
            node: NodeClient::new(node).max_decoding_message_size(MAX_MESSAGE_BYTES),
            facts: Arc::default(),
        }
    }

    /// What the machine is. It does not change while it serves.
    pub async fn facts(&self) -> Result<&DescribeReply, Error> {
        let asked = || async {
            let reply = self.node.clone().describe(DescribeRequest {}).await?;
            Ok(reply.into_inner())
        };
        self.facts.get_or_try_init(asked).await
    }

    /// The level at which sandboxes are made there.
    pub async fn isolation(&self) -> Result<IsolationLevel, Error> {
        Ok(required_field("isolation", &self.facts().await?.isolation)?)
    }

    /// Whose turn it is to build a layer; waits while somebody else does. A layer whose files are gone or damaged is given
    /// up first.
    pub async fn turn(&self, wanted: &LayerWanted) -> Result<Turn, Error> {
        loop {
            let request = snapshots::TakeTurnRequest { wanted: wanted.message() };
            let reply = self.layers.clone().take_turn(request).await?.into_inner();
            let layer: LayerId = required_field("layer", &reply.layer)?;
            if let Some(number) = reply.build {
                return Ok(Turn::Build(Build { layer, number }));
            }
            if self.is_whole(layer).await? {
                return Ok(Turn::Ready(layer));
            }
            // No error if somebody else has given it up since; asking again tells.
            let request = snapshots::GiveUpLayerRequest { layer: layer.to_string() };
            self.layers.clone().give_up_layer(request).await?;
        }
    }

    async fn is_whole(&self, layer: LayerId) -> Result<bool, Error> {
        let request = CheckLayerRequest { layer: layer.to_string() };
        let reply = self.node.clone().check_layer(request).await?.into_inner();
        match reply.state() {
            check_layer_reply::State::Whole => return Ok(true),
            check_layer_reply::State::Missing | check_layer_reply::State::Unspecified => {
                tracing::info!(layer.id = %layer, "a layer is not here any more; it is built again");
            }
            check_layer_reply::State::Damaged => {
                let reason = reply.reason;
                tracing::warn!(layer.id = %layer, reason, "a layer is built again");
            }
        }
        Ok(false)
    }

    /// Takes layers that nobody can find, and on which nothing stands, out of the records, and removes their files.
    pub async fn forget_layers(&self, layers: &[LayerId]) -> Result<(), Error> {
        let layers = layers.iter().map(ToString::to_string).collect();
        let request = snapshots::ForgetLayersRequest { layers };
        let forgotten = self.layers.clone().forget_layers(request).await?.into_inner().forgotten;
        if !forgotten.is_empty() {
            self.node.clone().remove_layers(RemoveLayersRequest { layers: forgotten }).await?;
        }
        Ok(())
    }

    /// The layer that is wanted, if it is complete.
    pub async fn find_layer(&self, wanted: &LayerWanted) -> Result<Option<LayerId>, Error> {
        let request = snapshots::FindLayerRequest { wanted: wanted.message() };
        let reply = self.layers.clone().find_layer(request).await?.into_inner();
        Ok(reply.layer.map(|layer| required_field("layer", &layer)).transpose()?)
    }

    /// Builds a layer while holding the build, and finishes or abandons it.
    pub async fn build<T>(
        &self,
        build: Build,
        work: impl Future<Output = Result<(T, Option<LayerContent>), Error>>,
    ) -> Result<T, Error> {
        let built = tokio::select! {
            built = work => built,
            lost = self.keep_building(build) => Err(lost),
        };
        match built {
            Ok((value, Some(content))) => {
                self.finish(build, content).await?;
                Ok(value)
            }
            Ok((value, None)) => {
                self.abandon(build).await?;
                Ok(value)
            }
            Err(error) => {
                self.abandon(build).await?;
                Err(error)
            }
        }
    }

    /// Holds a build for longer and longer, until somebody else has taken it over.
    async fn keep_building(&self, build: Build) -> Error {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let request = snapshots::RenewBuildRequest {
                layer: build.layer.to_string(),
                build: build.number,
            };
            let Err(refusal) = self.layers.clone().renew_build(request).await else { continue };
            if sandgate_wire::error_code(&refusal) == sandgate_domain::ErrorCode::Conflict {
                return refusal.into();
            }
            let error = refusal.message();
            tracing::warn!(layer.id = %build.layer, error, "the lease of a build was not renewed");
        }
    }

    async fn finish(&self, build: Build, content: LayerContent) -> Result<(), Error> {
        let request = snapshots::FinishBuildRequest {
            layer: build.layer.to_string(),
            build: build.number,
            digest: content.digest,
            bytes: content.bytes,
            files: content.files,
        };
        self.layers.clone().finish_build(request).await?;
        sandgate_domain::fail_point::reached("layer.finished");
        Ok(())
    }

    async fn abandon(&self, build: Build) -> Result<(), Error> {
        let request =
            snapshots::AbandonBuildRequest { layer: build.layer.to_string(), build: build.number };
        self.layers.clone().abandon_build(request).await?;
        Ok(())
    }
}
