//! The gRPC side: parse, call one function, convert the reply.

use sandgate_domain::{ErrorCode, LayerId, SandboxId};
use sandgate_wire::node::v1::LayerContent;
use sandgate_wire::sandboxes::v1 as wire;
use sandgate_wire::token::StepGuard;
use sandgate_wire::{required_field, status, status_with_causes};
use tonic::{Request, Response, Status};

use crate::{Created, Error, Gateway, Purpose};

/// The name of this machine in lists: there is one.
const NODE: &str = "local";

/// The service over a gateway. Who makes, seals or ends a sandbox shows the token of its step.
#[derive(Clone)]
pub struct SandboxesService {
    gateway: Gateway,
    guard: StepGuard,
}

impl SandboxesService {
    /// The service of `gateway`, for the steps that `guard` lets through.
    pub fn new(gateway: Gateway, guard: StepGuard) -> Self {
        Self { gateway, guard }
    }
}

#[tonic::async_trait]
impl wire::sandboxes_server::Sandboxes for SandboxesService {
    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListReply>, Status> {
        let request = request.into_inner();
        let token = request.page_token.as_deref();
        let start: usize = token
            .map_or(Ok(0), str::parse)
            .map_err(|_| status(ErrorCode::InvalidArgument, "this is no page token of ours"))?;
        let all = self.gateway.store.live_sandboxes().list().await;
        let mut all = all.map_err(|error| status(error.code(), error.to_string()))?;
        all.reverse();
        let rest = all.get(start..).unwrap_or_default();
        let end = rest.len().min(request.page_size as usize);
        let row = |sandbox: &sandgate_domain::LiveSandbox| wire::SandboxRow {
            id: sandbox.id.to_string(),
            node: NODE.to_owned(),
            run: sandbox.run.map(|id| id.to_string()),
            step: sandbox.step.map(|id| id.to_string()),
            state: "live".to_owned(),
            created_at: sandbox.created_at.as_micros(),
        };
        Ok(Response::new(wire::ListReply {
            sandboxes: rest[..end].iter().map(row).collect(),
            next_page_token: (end < rest.len()).then(|| (start + end).to_string()),
        }))
    }

    async fn create(
        &self,
        request: Request<wire::CreateRequest>,
    ) -> Result<Response<wire::CreateReply>, Status> {
        let token = self.guard.holder(request.metadata())?;
        let purpose = Purpose { run: Some(token.run), step: Some(token.step) };
        let missing = || status(ErrorCode::InvalidArgument, "field `spec` is missing");
        let spec = request.into_inner().spec.ok_or_else(missing)?;
        let created = self.gateway.create(purpose, spec).await.map_err(refuse)?;
        let Created { id, environment, places } = created;
        Ok(Response::new(wire::CreateReply { id: id.to_string(), environment, places }))
    }

    async fn seal(
        &self,
        request: Request<wire::SealRequest>,
    ) -> Result<Response<LayerContent>, Status> {
        let step = Some(self.guard.holder(request.metadata())?.step);
        let request = request.into_inner();
        let id: SandboxId = required_field("id", &request.id)?;
        let layer: LayerId = required_field("layer", &request.layer)?;
        let sealed = self.gateway.seal(id, step, layer, request.rule()).await.map_err(refuse)?;
        Ok(Response::new(sealed))
    }

    async fn destroy(
        &self,
        request: Request<wire::DestroyRequest>,
    ) -> Result<Response<wire::DestroyReply>, Status> {
        let step = Some(self.guard.signed(request.metadata())?.step);
        let id: SandboxId = required_field("id", &request.into_inner().id)?;
        self.gateway.destroy(id, step).await.map_err(refuse)?;
        Ok(Response::new(wire::DestroyReply {}))
    }
}

fn refuse(error: Error) -> Status {
    tracing::debug!(%error, "a request about sandboxes was refused");
    status_with_causes(error.code(), &error)
}
