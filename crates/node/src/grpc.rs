//! The gRPC side: parse, call one function, convert the reply.

mod convert;
mod exec;
mod files;

use std::sync::Arc;

use sandgate_domain::{LayerId, LayerKind, SandboxId};
use sandgate_sandbox::Memory;
use sandgate_wire::node::v1 as wire;
use sandgate_wire::token::StepGuard;
use sandgate_wire::{optional_field, required_field, status_with_causes};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::checkouts::Part;
use crate::error::Error;
use crate::layers::{Layer, SealRule};
use crate::live_sandboxes::LiveGuard;
use crate::node::{Node, Request as SandboxRequest, blocking, sandbox_environment};

type Reply<T> = Result<Response<T>, Status>;

/// The service over a node. Who uses a sandbox shows the token of the step that it was made for.
#[derive(Clone)]
pub struct NodeService {
    node: Node,
    guard: StepGuard,
}

impl NodeService {
    /// The service of `node`, for the steps that `guard` lets through.
    pub fn new(node: Node, guard: StepGuard) -> Self {
        Self { node, guard }
    }

    /// The sandbox of a call by whoever holds the step that it was made for.
    async fn held(&self, metadata: &MetadataMap, sandbox: &str) -> Result<LiveGuard, Status> {
        let step = self.guard.holder(metadata)?.step;
        let id: SandboxId = required_field("sandbox", sandbox)?;
        self.node.live_of(id, Some(step)).await.map_err(refuse)
    }
}

#[tonic::async_trait]
impl wire::node_server::Node for NodeService {
    type ExecStream = ReceiverStream<Result<wire::ExecEvent, Status>>;
    type ReadFilesStream = ReceiverStream<Result<wire::ReadFilesReply, Status>>;

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Reply<wire::DescribeReply> {
        let base = self.node.base().await.map_err(refuse)?;
        Ok(Response::new(wire::DescribeReply {
            base_fingerprint: base.fingerprint.clone(),
            shell: self.node.shell().words(),
            environment: sandbox_environment(base).into_iter().collect(),
            isolation: self.node.level().to_string(),
        }))
    }

    async fn measure(&self, _: Request<wire::MeasureRequest>) -> Reply<wire::MeasureReply> {
        let measuring = blocking(|| {
            let source =
                |source| Error::Io { action: "read", path: "/proc/meminfo".into(), source };
            Memory::measure().map_err(source)
        });
        let memory = measuring.await.map_err(refuse)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Response::new(wire::MeasureReply {
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            memory_bytes: memory.total_bytes,
            memory_available_bytes: memory.available_bytes,
        }))
    }

    async fn read_source(
        &self,
        request: Request<wire::ReadSourceRequest>,
    ) -> Reply<wire::ReadSourceReply> {
        let source = convert::source(request.into_inner().source)?;
        let read = self.node.read_source(source).await.map_err(refuse)?;
        let tree = &read.checkout.tree;
        let kind = if tree.is_working_tree() { LayerKind::WorkingTree } else { LayerKind::Commit };
        let branch = read.checkout.branch.as_ref();
        let changed_paths = read.changed_paths.clone();
        Ok(Response::new(wire::ReadSourceReply {
            source_key: read.source_key.clone(),
            source_kind: kind.to_string(),
            setup_key: read.setup.as_ref().map(|setup| setup.key.clone()),
            head_sha: tree.commit().as_str().to_owned(),
            base_sha: read.checkout.base.as_ref().map(|sha| sha.as_str().to_owned()),
            branch: branch.map(|branch| branch.as_str().to_owned()),
            changed_paths: changed_paths.map(|paths| wire::Paths { paths }),
        }))
    }

    async fn build_layer(
        &self,
        request: Request<wire::BuildLayerRequest>,
    ) -> Reply<wire::LayerContent> {
        let request = request.into_inner();
        let id: LayerId = required_field("layer", &request.layer)?;
        let part = match request.part() {
            wire::build_layer_request::Part::Source => Part::Source,
            wire::build_layer_request::Part::Inputs => Part::Inputs,
            wire::build_layer_request::Part::Unspecified => {
                return Err(convert::missing("part"));
            }
        };
        let source = convert::source(request.source)?;
        let read = self.node.read_source(source).await.map_err(refuse)?;
        let store = Arc::clone(self.node.layers());
        let owner = self.node.layer_owner();
        let built = blocking(move || read.build(&store, id, part, owner)).await.map_err(refuse)?;
        self.node.content(&built).await
    }

    async fn check_layer(
        &self,
        request: Request<wire::CheckLayerRequest>,
    ) -> Reply<wire::CheckLayerReply> {
        use wire::check_layer_reply::State;
        let id: LayerId = required_field("layer", &request.into_inner().layer)?;
        let store = Arc::clone(self.node.layers());
        let (state, reason) = match blocking(move || store.get_whole(id)).await {
            Ok(Some(_)) => (State::Whole, String::new()),
            Ok(None) => (State::Missing, String::new()),
            Err(error @ Error::Corrupt { .. }) => (State::Damaged, error.to_string()),
            Err(error) => return Err(refuse(error)),
        };
        Ok(Response::new(wire::CheckLayerReply { state: state.into(), reason }))
    }

    async fn persist_layers(
        &self,
        request: Request<wire::PersistLayersRequest>,
    ) -> Reply<wire::PersistLayersReply> {
        let layers = convert::layers(&request.into_inner().layers)?;
        let store = Arc::clone(self.node.layers());
        let bytes = blocking(move || {
            store.persist(&layers)?;
            let mut bytes = 0;
            for layer in layers {
                bytes += store.get(layer)?.map_or(0, |layer| layer.bytes);
            }
            Ok(bytes)
        });
        let bytes = bytes.await.map_err(refuse)?;
        Ok(Response::new(wire::PersistLayersReply { bytes }))
    }

    async fn remove_layers(
        &self,
        request: Request<wire::RemoveLayersRequest>,
    ) -> Reply<wire::RemoveLayersReply> {
        let layers = convert::layers(&request.into_inner().layers)?;
        let store = Arc::clone(self.node.layers());
        let removing =
            blocking(move || layers.into_iter().try_for_each(|layer| store.delete(layer)));
        removing.await.map_err(refuse)?;
        Ok(Response::new(wire::RemoveLayersReply {}))
    }

    async fn create_sandbox(
        &self,
        request: Request<wire::CreateSandboxRequest>,
    ) -> Reply<wire::CreateSandboxReply> {
        let wire::CreateSandboxRequest { id, spec, step, tier } = request.into_inner();
        let step = optional_field("step", step.as_deref())?;
        let (id, tier) = (required_field("id", &id)?, required_field("tier", &tier)?);
        let request: SandboxRequest = convert::spec(id, step, tier, spec)?;
        let made = self.node.create(request).await.map_err(refuse)?;
        Ok(Response::new(wire::CreateSandboxReply {
            environment: made.environment.into_iter().collect(),
            places: made.places.into_iter().collect(),
        }))
    }

    async fn exec(&self, request: Request<wire::ExecRequest>) -> Reply<Self::ExecStream> {
        let live = self.held(request.metadata(), &request.get_ref().sandbox).await?;
        exec::start(live, request.into_inner()).await
    }

    async fn kill(&self, request: Request<wire::KillRequest>) -> Reply<wire::KillReply> {
        let live = self.held(request.metadata(), &request.get_ref().sandbox).await?;
        live.kill_processes().await;
        Ok(Response::new(wire::KillReply {}))
    }

    async fn inspect(&self, request: Request<wire::InspectRequest>) -> Reply<wire::InspectReply> {
        let live = self.held(request.metadata(), &request.get_ref().sandbox).await?;
        let request = request.into_inner();
        let mut broken = live.broken_limit();
        if broken.is_none() && request.settled {
            broken = live.overstepped().await.map_err(refuse)?;
        }
        let incidents = live.incidents().into_iter().map(|incident| incident.text).collect();
        let broken_limit = broken.map(|limit| limit.to_string());
        Ok(Response::new(wire::InspectReply { broken_limit, incidents }))
    }

    async fn read_files(
        &self,
        request: Request<wire::ReadFilesRequest>,
    ) -> Reply<Self::ReadFilesStream> {
        let live = self.held(request.metadata(), &request.get_ref().sandbox).await?;
        files::read(&live, request.into_inner()).await
    }

    async fn seal_sandbox(
        &self,
        request: Request<wire::SealSandboxRequest>,
    ) -> Reply<wire::LayerContent> {
        let request = request.into_inner();
        let id: SandboxId = required_field("sandbox", &request.sandbox)?;
        let layer: LayerId = required_field("layer", &request.layer)?;
        let rule = match request.rule() {
            wire::SealRule::Setup => SealRule::Setup,
            wire::SealRule::Gate => SealRule::Gate,
            wire::SealRule::Unspecified => return Err(convert::missing("rule")),
        };
        let step = optional_field("step", request.step.as_deref())?;
        let sealed = self.node.seal(id, step, layer, rule).await.map_err(refuse)?;
        self.node.content(&sealed).await
    }

    async fn destroy_sandbox(
        &self,
        request: Request<wire::DestroySandboxRequest>,
    ) -> Reply<wire::DestroySandboxReply> {
        let request = request.into_inner();
        let id: SandboxId = required_field("sandbox", &request.sandbox)?;
        let step = optional_field("step", request.step.as_deref())?;
        self.node.destroy(id, step).await.map_err(refuse)?;
        Ok(Response::new(wire::DestroySandboxReply {}))
    }
}

impl Node {
    async fn content(&self, layer: &Layer) -> Reply<wire::LayerContent> {
        let store = Arc::clone(self.layers());
        let id = layer.id;
        let digest = blocking(move || store.digest(id)).await.map_err(refuse)?;
        let (bytes, files) = (layer.bytes, layer.files);
        Ok(Response::new(wire::LayerContent { digest: digest.to_string(), bytes, files }))
    }
}

fn refuse(error: Error) -> Status {
    tracing::debug!(%error, "a request to the node was refused");
    status_with_causes(error.code(), &error)
}
