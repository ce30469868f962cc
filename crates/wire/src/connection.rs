//! One type for both ways to reach a service: over a channel, or in the same process without a socket.
//!
//! Services of one process need each other, in circles. So the routes of a process are bound after its services were made,
//! and connections hold them weakly: when the owner drops its [`InProcess`], services are freed and late calls are told so.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Error};
use tower_service::Service;

/// The services of this process, as one target for connections. Keep it as long as they serve.
#[derive(Debug, Clone, Default)]
pub struct InProcess {
    routes: Arc<OnceLock<Routes>>,
}

/// The services of a process were bound twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the services of this process are bound already")]
pub struct AlreadyBound;

impl InProcess {
    /// A target without services; calls are answered with UNAVAILABLE until [`InProcess::bind`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection to the services that are, or will be, bound here.
    pub fn connection(&self) -> Connection {
        Connection(Target::Local(Arc::downgrade(&self.routes)))
    }

    /// Binds the services.
    ///
    /// # Errors
    /// If services were bound before.
    pub fn bind(&self, routes: Routes) -> Result<(), AlreadyBound> {
        self.routes.set(routes.prepare()).map_err(|_routes| AlreadyBound)
    }
}

/// The way to a service; cheap to clone. Every generated client takes it.
#[derive(Debug, Clone)]
pub struct Connection(Target);

#[derive(Debug, Clone)]
enum Target {
    Remote(Channel),
    Local(Weak<OnceLock<Routes>>),
}

impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self(Target::Remote(channel))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Target::Remote(channel) => channel.poll_ready(context),
            // Routes are always ready; the clone that is called was never polled by another.
            Target::Local(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Target::Remote(channel) => Box::pin(channel.call(request)),
            Target::Local(routes) => {
                let bound = routes.upgrade().and_then(|routes| routes.get().cloned());
                Box::pin(async move { Ok(call_local(bound, request).await) })
            }
        }
    }
}

async fn call_local(routes: Option<Routes>, request: Request<Body>) -> Response<Body> {
    let Some(mut routes) = routes else {
        return Status::unavailable("the services of this process are not running").into_http();
    };
    match routes.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Request, Response, Status};

    use super::*;
    use crate::pulls::v1::repositories_client::RepositoriesClient;
    use crate::pulls::v1::repositories_server::{Repositories, RepositoriesServer};
    use crate::pulls::v1::{
        AddRepositoryRequest, ListRepositoriesReply, ListRepositoriesRequest,
        RemoveRepositoryReply, RemoveRepositoryRequest, Repository,
    };

    struct OneRepository;

    #[tonic::async_trait]
    impl Repositories for OneRepository {
        async fn add(
            &self,
            _: Request<AddRepositoryRequest>,
        ) -> Result<Response<Repository>, Status> {
            Err(crate::status(sandgate_domain::ErrorCode::Conflict, "known already"))
        }

        async fn list(
            &self,
            _: Request<ListRepositoriesRequest>,
        ) -> Result<Response<ListRepositoriesReply>, Status> {
            let repository = Repository { name: "acme/web".to_owned(), ..Repository::default() };
            Ok(Response::new(ListRepositoriesReply { repositories: vec![repository] }))
        }

        async fn remove(
            &self,
            _: Request<RemoveRepositoryRequest>,
        ) -> Result<Response<RemoveRepositoryReply>, Status> {
            Ok(Response::new(RemoveRepositoryReply {}))
        }
    }

    #[tokio::test]
    async fn calls_reach_services_that_are_bound_later_and_fail_when_they_are_gone() {
        let process = InProcess::new();
        let mut client = RepositoriesClient::new(process.connection());
        let early = client.list(ListRepositoriesRequest {}).await.unwrap_err();
        assert_eq!(early.code(), Code::Unavailable);

        process.bind(Routes::new(RepositoriesServer::new(OneRepository))).unwrap();
        let reply = client.list(ListRepositoriesRequest {}).await.unwrap().into_inner();
        assert_eq!(reply.repositories[0].name, "acme/web");
        let refused = client.add(AddRepositoryRequest::default()).await.unwrap_err();
        assert_eq!(crate::error_code(&refused), sandgate_domain::ErrorCode::Conflict);
        assert_eq!(refused.message(), "known already");
        assert_eq!(process.bind(Routes::default()), Err(AlreadyBound));

        drop(process);
        let late = client.list(ListRepositoriesRequest {}).await.unwrap_err();
        assert_eq!(late.code(), Code::Unavailable);
    }
}
