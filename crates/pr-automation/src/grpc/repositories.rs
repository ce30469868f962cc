//! The server of repositories.

use sandgate_store::KnownRepository;
use sandgate_wire::pulls::v1::repositories_server::Repositories;
use sandgate_wire::pulls::v1::{
    AddRepositoryRequest, ListRepositoriesReply, ListRepositoriesRequest, RemoveRepositoryReply,
    RemoveRepositoryRequest, Repository,
};
use sandgate_wire::required_field;
use tonic::{Request, Response, Status};

use crate::service::Core;

#[tonic::async_trait]
impl Repositories for Core {
    async fn add(
        &self,
        request: Request<AddRepositoryRequest>,
    ) -> Result<Response<Repository>, Status> {
        let AddRepositoryRequest { name, path } = request.into_inner();
        let added = self.add_repository(&required_field("name", &name)?, &path).await?;
        Ok(Response::new(message(added)))
    }

    async fn list(
        &self,
        _request: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesReply>, Status> {
        let repositories = self.list_repositories().await?.into_iter().map(message).collect();
        Ok(Response::new(ListRepositoriesReply { repositories }))
    }

    async fn remove(
        &self,
        request: Request<RemoveRepositoryRequest>,
    ) -> Result<Response<RemoveRepositoryReply>, Status> {
        let name = required_field("name", &request.into_inner().name)?;
        self.remove_repository(&name).await?;
        Ok(Response::new(RemoveRepositoryReply {}))
    }
}

fn message(repository: KnownRepository) -> Repository {
    Repository {
        name: repository.name,
        path: repository.path,
        default_branch: repository.default_branch.unwrap_or_default(),
        added_at: repository.added_at.as_micros(),
    }
}
