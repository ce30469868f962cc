//! The services behind the front doors, and how each is called: bounded in time, errors as problems.

use std::future::Future;
use std::time::Duration;

use sandgate_domain::ErrorCode;
use sandgate_wire::Connection;
use sandgate_wire::pulls::v1::pull_requests_client::PullRequestsClient;
use sandgate_wire::pulls::v1::repositories_client::RepositoriesClient;
use sandgate_wire::runs::v1::runs_client::RunsClient;
use sandgate_wire::sandboxes::v1::sandboxes_client::SandboxesClient;
use sandgate_wire::snapshots::v1::snapshots_client::SnapshotsClient;
use tonic::{Response, Status};

use crate::problem::Problem;

/// How long one call may take; streams are bounded only in how long their first answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer that is read: a page of runs with their reports.
const MAX_REPLY_BYTES: usize = 32 << 20;

/// Where the services are.
#[derive(Debug, Clone)]
pub struct Connections {
    /// The service of runs.
    pub runs: Connection,
    /// The service of pull requests and repositories.
    pub pulls: Connection,
    /// The service of snapshots.
    pub snapshots: Connection,
    /// The service of sandboxes.
    pub sandboxes: Connection,
}

/// The clients of all services that the front doors speak to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) runs: RunsClient<Connection>,
    pub(crate) pull_requests: PullRequestsClient<Connection>,
    pub(crate) repositories: RepositoriesClient<Connection>,
    pub(crate) snapshots: SnapshotsClient<Connection>,
    pub(crate) sandboxes: SandboxesClient<Connection>,
}

impl Clients {
    /// Clients over the given connections; nothing is called yet.
    pub fn new(connections: Connections) -> Self {
        let Connections { runs, pulls, snapshots, sandboxes } = connections;
        Self {
            runs: RunsClient::new(runs).max_decoding_message_size(MAX_REPLY_BYTES),
            pull_requests: PullRequestsClient::new(pulls.clone())
                .max_decoding_message_size(MAX_REPLY_BYTES),
            repositories: RepositoriesClient::new(pulls).max_decoding_message_size(MAX_REPLY_BYTES),
            snapshots: SnapshotsClient::new(snapshots).max_decoding_message_size(MAX_REPLY_BYTES),
            sandboxes: SandboxesClient::new(sandboxes).max_decoding_message_size(MAX_REPLY_BYTES),
        }
    }
}

/// The answer to one call.
///
/// # Errors
/// What the service answered, or that it did not answer in time.
pub async fn call<T>(
    work: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Problem> {
    bounded(work).await.map(Response::into_inner)
}

/// Work with a service, bounded in time.
///
/// # Errors
/// What the service answered, or that it was not done in time.
pub async fn bounded<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Problem> {
    match tokio::time::timeout(CALL_TIMEOUT, work).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(Problem::new(
            ErrorCode::DeadlineExceeded,
            format!("the service did not answer within {} s; try again", CALL_TIMEOUT.as_secs()),
        )),
    }
}
