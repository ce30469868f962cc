//! The gRPC side: parse, call one function, convert the reply.

mod convert;
mod exec;
mod files;

use std::sync::Arc;

use sandgate_domain::{LayerId, LayerKind, SandboxId};
use sandgate_wire::node::v1 as wire;
use sandgate_wire::{required_field, status_with_causes};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::checkouts::Part;
use crate::error::Error;
use crate::layers::{Layer, SealRule};
use crate::node::{Node, Request as SandboxRequest, blocking};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl wire::node_server::Node for Node {
    type ExecStream = ReceiverStream<Result<wire::ExecEvent, Status>>;
    type ReadFilesStream = ReceiverStream<Result<wire::ReadFilesReply, Status>>;

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Reply<wire::DescribeReply> {
        Ok(Response::new(wire::DescribeReply {
            base_fingerprint: self.base().fingerprint.clone(),
            shell: self.shell().words(),
            environment: self.sandbox_environment().into_iter().collect(),
        }))
    }

    async fn read_source(
        &self,
        request: Request<wire::ReadSourceRequest>,
    ) -> Reply<wire::ReadSourceReply> {
        let source = convert::source(request.into_inner().source)?;
        let read = self.read_source(source).await.map_err(refuse)?;
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
        let read = self.read_source(source).await.map_err(refuse)?;
        let store = Arc::clone(self.layers());
        let owner = self.layer_owner();
        let built = blocking(move || read.build(&store, id, part, owner)).await.map_err(refuse)?;
        self.content(&built).await
    }

    async fn check_layer(
        &self,
        request: Request<wire::CheckLayerRequest>,
    ) -> Reply<wire::CheckLayerReply> {
        use wire::check_layer_reply::State;
        let id: LayerId = required_field("layer", &request.into_inner().layer)?;
        let store = Arc::clone(self.layers());
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
        let store = Arc::clone(self.layers());
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
        let store = Arc::clone(self.layers());
        let removing =
            blocking(move || layers.into_iter().try_for_each(|layer| store.delete(layer)));
        removing.await.map_err(refuse)?;
        Ok(Response::new(wire::RemoveLayersReply {}))
    }

    async fn create_sandbox(
        &self,
        request: Request<wire::CreateSandboxRequest>,
    ) -> Reply<wire::CreateSandboxReply> {
        let wire::CreateSandboxRequest { id, spec } = request.into_inner();
        let request: SandboxRequest = convert::spec(required_field("id", &id)?, spec)?;
        let environment = self.create(request).await.map_err(refuse)?;
        let environment = environment.into_iter().collect();
        Ok(Response::new(wire::CreateSandboxReply { environment }))
    }

    async fn exec(&self, request: Request<wire::ExecRequest>) -> Reply<Self::ExecStream> {
        exec::start(self.clone(), request.into_inner()).await
    }

    async fn kill(&self, request: Request<wire::KillRequest>) -> Reply<wire::KillReply> {
        let id: SandboxId = required_field("sandbox", &request.into_inner().sandbox)?;
        self.live(id).await.map_err(refuse)?.kill_processes().await;
        Ok(Response::new(wire::KillReply {}))
    }

    async fn inspect(&self, request: Request<wire::InspectRequest>) -> Reply<wire::InspectReply> {
        let request = request.into_inner();
        let id: SandboxId = required_field("sandbox", &request.sandbox)?;
        let live = self.live(id).await.map_err(refuse)?;
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
        files::read(self, request.into_inner()).await
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
        let sealed = self.seal(id, layer, rule).await.map_err(refuse)?;
        self.content(&sealed).await
    }

    async fn destroy_sandbox(
        &self,
        request: Request<wire::DestroySandboxRequest>,
    ) -> Reply<wire::DestroySandboxReply> {
        let id: SandboxId = required_field("sandbox", &request.into_inner().sandbox)?;
        self.destroy(id).await.map_err(refuse)?;
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
