//! The gRPC side: which sandboxes exist now.

use sandgate_domain::ErrorCode;
use sandgate_wire::sandboxes::v1 as wire;
use sandgate_wire::status;
use tonic::{Request, Response, Status};

use crate::Gateway;

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
}
