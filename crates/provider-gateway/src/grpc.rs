//! The gRPC side: parse, call one function, convert the reply.

use sandgate_domain::{ErrorCode, LayerId, SandboxId};
use sandgate_wire::node::v1::LayerContent;
use sandgate_wire::sandboxes::v1 as wire;
use sandgate_wire::{optional_field, required_field, status, status_with_causes};
use tonic::{Request, Response, Status};

use crate::{Error, Gateway, Purpose};

/// The name of this machine in lists: there is one.
const NODE: &str = "local";

#[tonic::async_trait]
impl wire::sandboxes_server::Sandboxes for Gateway {
    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListReply>, Status> {
        let request = request.into_inner();
        let token = request.page_token.as_deref();
        let start: usize = token
            .map_or(Ok(0), str::parse)
            .map_err(|_| status(ErrorCode::InvalidArgument, "this is no page token of ours"))?;
        let all = self.store.live_sandboxes().list().await;
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
        let wire::CreateRequest { run, step, spec } = request.into_inner();
        let purpose = Purpose {
            run: optional_field("run", run.as_deref())?,
            step: optional_field("step", step.as_deref())?,
        };
        let spec =
            spec.ok_or_else(|| status(ErrorCode::InvalidArgument, "field `spec` is missing"))?;
        let created = Gateway::create(self, purpose, spec).await.map_err(refuse)?;
        let (id, environment) = (created.id.to_string(), created.environment);
        Ok(Response::new(wire::CreateReply { id, environment }))
    }

    async fn seal(
        &self,
        request: Request<wire::SealRequest>,
    ) -> Result<Response<LayerContent>, Status> {
        let request = request.into_inner();
        let id: SandboxId = required_field("id", &request.id)?;
        let layer: LayerId = required_field("layer", &request.layer)?;
        let sealed = Gateway::seal(self, id, layer, request.rule()).await.map_err(refuse)?;
        Ok(Response::new(sealed))
    }

    async fn destroy(
        &self,
        request: Request<wire::DestroyRequest>,
    ) -> Result<Response<wire::DestroyReply>, Status> {
        let id: SandboxId = required_field("id", &request.into_inner().id)?;
        Gateway::destroy(self, id).await.map_err(refuse)?;
        Ok(Response::new(wire::DestroyReply {}))
    }
}

fn refuse(error: Error) -> Status {
    tracing::debug!(%error, "a request about sandboxes was refused");
    status_with_causes(error.code(), &error)
}
