//! The server of sources.

use sandgate_wire::pulls::v1::source_server::Source;
use sandgate_wire::pulls::v1::{
    ChangedPathsReply, ChangedPathsRequest, Conflict, LocateReply, LocateRequest, ReadFileReply,
    ReadFileRequest, ResolveReply, ResolveRequest, TraceReply, TraceRequest,
};
use sandgate_wire::{FieldError, optional_field, required_field};
use tonic::{Request, Response, Status};

use crate::service::Core;
use crate::source;
use crate::trust::TrustTier;

/// The largest file that is read, whatever is asked for: it has to fit into a reply.
const MAX_FILE_BYTES: u64 = 3 << 20;

#[tonic::async_trait]
impl Source for Core {
    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileReply>, Status> {
        let ReadFileRequest { repository, sha, path, max_bytes } = request.into_inner();
        let name = required_field("repository", &repository)?;
        let commit = required_field("sha", &sha)?;
        let limit = max_bytes.min(MAX_FILE_BYTES);
        let data = Core::read_file(self, &name, &commit, &path, limit).await?;
        Ok(Response::new(ReadFileReply { data: data.into() }))
    }

    async fn changed_paths(
        &self,
        request: Request<ChangedPathsRequest>,
    ) -> Result<Response<ChangedPathsReply>, Status> {
        let ChangedPathsRequest { repository, base_sha, head_sha } = request.into_inner();
        let name = required_field("repository", &repository)?;
        let base = required_field("base_sha", &base_sha)?;
        let head = required_field("head_sha", &head_sha)?;
        let paths = Core::changed_paths(self, &name, &base, &head).await?;
        let unknown = paths.is_none();
        Ok(Response::new(ChangedPathsReply { unknown, paths: paths.unwrap_or_default() }))
    }

    async fn resolve(
        &self,
        request: Request<ResolveRequest>,
    ) -> Result<Response<ResolveReply>, Status> {
        let request = request.into_inner();
        let wanted = source::Request {
            repository: required_field("repository", &request.repository)?,
            head: required_field("head_sha", &request.head_sha)?,
            head_branch: optional_field("head_branch", request.head_branch.as_deref())?,
            base_branch: optional_field("base_branch", request.base_branch.as_deref())?,
            base: optional_field("base_sha", request.base_sha.as_deref())?,
            tier: tier(&request.tier)?,
        };
        let resolved = Core::resolve(self, wanted).await?;
        let (test_sha, conflict) = match resolved.test {
            Ok(commit) => (commit.to_string(), None),
            Err(source::Conflict { reason, paths }) => {
                (String::new(), Some(Conflict { reason, paths }))
            }
        };
        Ok(Response::new(ResolveReply {
            test_sha,
            config_sha: resolved.config.to_string(),
            base_sha: resolved.base.map(|base| base.to_string()),
            conflict,
            folder: resolved.folder.to_string_lossy().into_owned(),
        }))
    }

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<TraceReply>, Status> {
        let TraceRequest { repository, sha } = request.into_inner();
        let name = required_field("repository", &repository)?;
        let origin = Core::trace(self, &name, &required_field("sha", &sha)?).await?;
        let (number, view) = origin.pull.unzip();
        Ok(Response::new(TraceReply {
            tier: origin.tier.to_string(),
            held: origin.is_held,
            number,
            base_branch: view.as_ref().map(|view| view.base_branch.to_string()),
            head_branch: view.as_ref().map(|view| view.head_branch.to_string()),
        }))
    }

    async fn locate(
        &self,
        request: Request<LocateRequest>,
    ) -> Result<Response<LocateReply>, Status> {
        let LocateRequest { repository, sha } = request.into_inner();
        let name = required_field("repository", &repository)?;
        let folder = Core::locate(self, &name, &required_field("sha", &sha)?).await?;
        Ok(Response::new(LocateReply { folder: folder.to_string_lossy().into_owned() }))
    }
}

fn tier(text: &str) -> Result<TrustTier, FieldError> {
    [TrustTier::Fork, TrustTier::Agent, TrustTier::Member]
        .into_iter()
        .find(|tier| tier.as_str() == text)
        .ok_or_else(|| FieldError {
            field: "tier",
            problem: "it must be member, agent or fork".to_owned(),
        })
}
