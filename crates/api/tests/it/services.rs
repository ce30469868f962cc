//! The services behind the front doors, kept in memory: they store, list and page like the real ones.

use std::sync::{Arc, Mutex, MutexGuard};

use sandgate_domain::ErrorCode;
use sandgate_wire::node::v1::LayerContent;
use sandgate_wire::pulls::v1::pull_requests_server::PullRequests;
use sandgate_wire::pulls::v1::repositories_server::Repositories;
use sandgate_wire::pulls::v1::*;
use sandgate_wire::runs::v1::runs_server::Runs;
use sandgate_wire::runs::v1::*;
use sandgate_wire::sandboxes::v1::sandboxes_server::Sandboxes;
use sandgate_wire::sandboxes::v1::{
    CreateReply, CreateRequest, DestroyReply, DestroyRequest, ListReply, ListRequest, SandboxRow,
    SealRequest,
};
use sandgate_wire::snapshots::v1::snapshots_server::Snapshots;
use sandgate_wire::snapshots::v1::*;
use sandgate_wire::status;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// What the services hold.
#[derive(Default)]
pub struct Held {
    pub runs: Vec<Run>,
    pub logs: Vec<(String, Vec<u8>)>,
    pub pulls: Vec<PullRequest>,
    pub repositories: Vec<Repository>,
    pub snapshots: Vec<Snapshot>,
    pub sandboxes: Vec<SandboxRow>,
    pub deliveries: Vec<(AcceptRequest, &'static str)>,
    pub approvals: Vec<ApproveRequest>,
    pub watchers: Vec<mpsc::Sender<Result<RunEvent, Status>>>,
    pub log_readers: Vec<mpsc::Sender<Result<LogChunk, Status>>>,
    /// Every call fails with this while it is set.
    pub outage: Option<ErrorCode>,
}

/// All services over the same memory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Held>>);

type Answer<T> = Result<Response<T>, Status>;

impl Memory {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn available(&self) -> Result<MutexGuard<'_, Held>, Status> {
        let held = self.held();
        match held.outage {
            Some(code) => Err(status(code, "the store at /var/lib/secret is gone")),
            None => Ok(held),
        }
    }
}

impl Memory {
    fn change(
        &self,
        id: Option<String>,
        change: impl FnOnce(&mut PullRequest),
    ) -> Answer<PullRequest> {
        let mut held = self.available()?;
        let found = held.pulls.iter_mut().find(|pull| Some(&pull.id) == id.as_ref());
        let pull = found.ok_or(missing("pull request"))?;
        change(pull);
        Ok(Response::new(pull.clone()))
    }
}

fn missing(what: &str) -> Status {
    status(ErrorCode::NotFound, format!("there is no such {what}"))
}

/// A page of items; the token is the index where it starts.
fn page<T: Clone>(
    items: &[T],
    size: u32,
    token: Option<&str>,
) -> Result<(Vec<T>, Option<String>), Status> {
    let start: usize = token
        .unwrap_or("0")
        .parse()
        .map_err(|_| status(ErrorCode::InvalidArgument, "this is no page token of ours"))?;
    let rest = items.get(start..).unwrap_or_default();
    let end = rest.len().min(size as usize);
    let next = (end < rest.len()).then(|| (start + end).to_string());
    Ok((rest[..end].to_vec(), next))
}

#[tonic::async_trait]
impl Runs for Memory {
    type WatchStream = ReceiverStream<Result<RunEvent, Status>>;
    type ReadLogStream = ReceiverStream<Result<LogChunk, Status>>;

    async fn create_from_commit(
        &self,
        request: Request<CreateFromCommitRequest>,
    ) -> Answer<CreateRunReply> {
        let request = request.into_inner();
        let mut held = self.available()?;
        if !held.repositories.iter().any(|known| known.name == request.repository) {
            return Err(missing("repository"));
        }
        let earlier = held
            .runs
            .iter()
            .find(|run| request.idempotency_key.is_some() && run.branch == request.idempotency_key);
        if let Some(run) = earlier {
            return Ok(Response::new(CreateRunReply { run: Some(run.clone()), existed: true }));
        }
        let run = Run {
            id: format!("run_{:032x}", 1000 + held.runs.len()),
            repository: request.repository,
            sha: request.sha,
            branch: request.idempotency_key,
            state: "queued".to_owned(),
            ..Run::default()
        };
        held.runs.insert(0, run.clone());
        Ok(Response::new(CreateRunReply { run: Some(run), existed: false }))
    }

    async fn get(&self, request: Request<GetRunRequest>) -> Answer<Run> {
        let id = request.into_inner().id;
        let held = self.available()?;
        held.runs.iter().find(|r| r.id == id).cloned().map(Response::new).ok_or(missing("run"))
    }

    async fn get_gate(&self, request: Request<GetGateRequest>) -> Answer<Gate> {
        let id = request.into_inner().id;
        let held = self.available()?;
        let gate = held.runs.iter().flat_map(|run| &run.gates).find(|gate| gate.id == id);
        gate.cloned().map(Response::new).ok_or(missing("gate"))
    }

    async fn list(&self, request: Request<ListRunsRequest>) -> Answer<ListRunsReply> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let matches: Vec<Run> = held
            .runs
            .iter()
            .filter(|run| wanted.repository.as_ref().is_none_or(|repo| *repo == run.repository))
            .filter(|run| wanted.sha.as_ref().is_none_or(|sha| run.sha.starts_with(sha)))
            .filter(|run| wanted.result.is_none() || wanted.result == run.result)
            .filter(|run| wanted.pull_request.is_none() || wanted.pull_request == run.pull_request)
            .cloned()
            .collect();
        let (runs, next_page_token) =
            page(&matches, wanted.page_size, wanted.page_token.as_deref())?;
        Ok(Response::new(ListRunsReply { runs, next_page_token }))
    }

    async fn cancel(&self, request: Request<CancelRunRequest>) -> Answer<Run> {
        let CancelRunRequest { id, reason } = request.into_inner();
        let mut held = self.available()?;
        let run = held.runs.iter_mut().find(|run| run.id == id).ok_or(missing("run"))?;
        if run.result.is_some() {
            return Err(status(ErrorCode::Conflict, "the run has ended already"));
        }
        run.state = "ended".to_owned();
        run.result = Some("cancellation".to_owned());
        run.ended_at = Some(run.created_at + 1_500_000);
        run.waiting = Some(reason);
        Ok(Response::new(run.clone()))
    }

    async fn rerun(&self, request: Request<RerunRequest>) -> Answer<Run> {
        let RerunRequest { id, only_failed } = request.into_inner();
        let mut held = self.available()?;
        let old = held.runs.iter().find(|run| run.id == id).ok_or(missing("run"))?;
        let run = Run {
            id: format!("run_{:032x}", 2000 + held.runs.len()),
            result: None,
            state: "queued".to_owned(),
            waiting: only_failed.then(|| "only the gates that failed".to_owned()),
            ..old.clone()
        };
        held.runs.insert(0, run.clone());
        Ok(Response::new(run))
    }

    async fn watch(&self, request: Request<GetRunRequest>) -> Answer<Self::WatchStream> {
        let run = Runs::get(self, request).await?.into_inner();
        let (sender, receiver) = mpsc::channel(16);
        let first = RunEvent { sequence: 1, run: Some(run.clone()), step: None };
        sender.try_send(Ok(first)).unwrap();
        if run.result.is_none() {
            self.held().watchers.push(sender);
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Answer<Self::ReadLogStream> {
        let ReadLogRequest { step, offset, follow } = request.into_inner();
        let mut held = self.available()?;
        let (_, log) = held.logs.iter().find(|(id, _)| *id == step).ok_or(missing("log"))?;
        let rest = usize::try_from(offset).ok().and_then(|at| log.get(at..)).unwrap_or_default();
        let (sender, receiver) = mpsc::channel(16);
        if !rest.is_empty() {
            let chunk = LogChunk { offset, data: rest.to_vec().into(), stream: 1 };
            sender.try_send(Ok(chunk)).unwrap();
        }
        if follow {
            held.log_readers.push(sender);
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl PullRequests for Memory {
    /// Keeps bodies by id, as the table of webhooks asks.
    async fn accept(&self, request: Request<AcceptRequest>) -> Answer<AcceptReply> {
        let delivery = request.into_inner();
        let mut held = self.available()?;
        let known = held.deliveries.iter().find(|(old, _)| old.delivery_id == delivery.delivery_id);
        if let Some((old, state)) = known {
            if old.body != delivery.body {
                return Err(status(ErrorCode::Conflict, "this id came with another body"));
            }
            if *state != "failed" {
                let reply = AcceptReply { outcome: "duplicate".to_owned(), reason: None };
                return Ok(Response::new(reply));
            }
        }
        let payload: serde_json::Value = serde_json::from_slice(&delivery.body)
            .map_err(|error| status(ErrorCode::InvalidArgument, error.to_string()))?;
        let reply = match payload["repository"]["full_name"].as_str() {
            _ if delivery.event == "ping" => ignored("a ping"),
            None => ignored("no repository in it"),
            Some(name) if held.repositories.iter().any(|known| known.name == name) => {
                AcceptReply { outcome: "queued".to_owned(), reason: None }
            }
            Some(name) => ignored(&format!("unknown: sandgate repo add <path> --name {name}")),
        };
        held.deliveries.retain(|(old, _)| old.delivery_id != delivery.delivery_id);
        held.deliveries.push((delivery, "queued"));
        Ok(Response::new(reply))
    }

    async fn get(&self, request: Request<GetPullRequestRequest>) -> Answer<PullRequest> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let found = held.pulls.iter().find(|pull| match &wanted.id {
            Some(id) => pull.id == *id,
            None => pull.repository == wanted.repository && pull.number == wanted.number,
        });
        found.cloned().map(Response::new).ok_or(missing("pull request"))
    }

    async fn list(
        &self,
        request: Request<ListPullRequestsRequest>,
    ) -> Answer<ListPullRequestsReply> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let matches: Vec<PullRequest> = held
            .pulls
            .iter()
            .filter(|pull| wanted.repository.as_ref().is_none_or(|repo| *repo == pull.repository))
            .filter(|pull| wanted.state.as_ref().is_none_or(|state| *state == pull.state))
            .cloned()
            .collect();
        let (pull_requests, next_page_token) =
            page(&matches, wanted.page_size, wanted.page_token.as_deref())?;
        Ok(Response::new(ListPullRequestsReply { pull_requests, next_page_token }))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Answer<PullRequest> {
        let approval = request.into_inner();
        let mut held = self.available()?;
        held.approvals.push(approval.clone());
        let pull = held
            .pulls
            .iter_mut()
            .find(|pull| pull.repository == approval.repository && pull.number == approval.number)
            .ok_or(missing("pull request"))?;
        if pull.head_sha != approval.sha {
            return Err(status(ErrorCode::Conflict, "its head is another by now"));
        }
        pull.held = false;
        Ok(Response::new(pull.clone()))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Answer<PullRequest> {
        let wanted = request.into_inner();
        let mut held = self.available()?;
        let number = held.pulls.len() as u64 + 1;
        let pull = PullRequest {
            id: format!("pr_{number}"),
            repository: wanted.repository,
            number,
            title: wanted.title.unwrap_or_else(|| wanted.head_branch.clone()),
            author: wanted.author,
            head_sha: wanted.checkout,
            head_branch: wanted.head_branch,
            base_branch: wanted.base_branch.unwrap_or_else(|| "main".to_owned()),
            state: "open".to_owned(),
            ..PullRequest::default()
        };
        held.pulls.push(pull.clone());
        Ok(Response::new(pull))
    }

    async fn push(&self, request: Request<PushRequest>) -> Answer<PullRequest> {
        let PushRequest { id, checkout, .. } = request.into_inner();
        self.change(id, |pull| pull.head_sha = checkout)
    }

    async fn close(&self, request: Request<CloseRequest>) -> Answer<PullRequest> {
        self.change(request.into_inner().id, |pull| pull.state = "closed".to_owned())
    }

    async fn report_unplanned(
        &self,
        request: Request<ReportUnplannedRequest>,
    ) -> Answer<ReportUnplannedReply> {
        Err(missing(&format!("pull request as {}", request.into_inner().pull_request)))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Answer<ListDeliveriesReply> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let rows: Vec<Delivery> = held
            .deliveries
            .iter()
            .map(|(delivery, outcome)| Delivery {
                id: delivery.delivery_id.clone(),
                event: delivery.event.clone(),
                outcome: (*outcome).to_owned(),
                reason: (*outcome == "ignored").then(|| "the repository is not known".to_owned()),
                ..Delivery::default()
            })
            .collect();
        let (deliveries, next_page_token) =
            page(&rows, wanted.page_size, wanted.page_token.as_deref())?;
        Ok(Response::new(ListDeliveriesReply { deliveries, next_page_token }))
    }

    async fn redeliver(&self, request: Request<RedeliverRequest>) -> Answer<AcceptReply> {
        let id = request.into_inner().delivery_id;
        let mut held = self.available()?;
        let known = held.deliveries.iter_mut().find(|(delivery, _)| delivery.delivery_id == id);
        let (_, outcome) = known.ok_or(missing("delivery"))?;
        let reply = if *outcome == "ignored" { "queued" } else { "duplicate" };
        if *outcome == "ignored" {
            *outcome = "succeeded";
        }
        Ok(Response::new(AcceptReply { outcome: reply.to_owned(), reason: None }))
    }
}

fn ignored(reason: &str) -> AcceptReply {
    AcceptReply { outcome: "ignored".to_owned(), reason: Some(reason.to_owned()) }
}

#[tonic::async_trait]
impl Repositories for Memory {
    async fn add(&self, request: Request<AddRepositoryRequest>) -> Answer<Repository> {
        let AddRepositoryRequest { name, path } = request.into_inner();
        let mut held = self.available()?;
        if held.repositories.iter().any(|known| known.name == name) {
            return Err(status(ErrorCode::Conflict, "it is known already"));
        }
        if !path.starts_with('/') {
            return Err(status(ErrorCode::InvalidArgument, "the path is not absolute"));
        }
        let repository = Repository { name, path, default_branch: "main".to_owned(), added_at: 1 };
        held.repositories.push(repository.clone());
        Ok(Response::new(repository))
    }

    async fn list(&self, _: Request<ListRepositoriesRequest>) -> Answer<ListRepositoriesReply> {
        let repositories = self.available()?.repositories.clone();
        Ok(Response::new(ListRepositoriesReply { repositories }))
    }

    async fn remove(
        &self,
        request: Request<RemoveRepositoryRequest>,
    ) -> Answer<RemoveRepositoryReply> {
        let name = request.into_inner().name;
        let mut held = self.available()?;
        let before = held.repositories.len();
        held.repositories.retain(|known| known.name != name);
        if held.repositories.len() == before {
            return Err(missing("repository"));
        }
        Ok(Response::new(RemoveRepositoryReply {}))
    }
}

#[tonic::async_trait]
impl Snapshots for Memory {
    async fn get(&self, request: Request<GetSnapshotRequest>) -> Answer<Snapshot> {
        let id = request.into_inner().id;
        let held = self.available()?;
        let found = held.snapshots.iter().find(|snapshot| snapshot.id == id);
        found.cloned().map(Response::new).ok_or(missing("snapshot"))
    }

    async fn list(&self, request: Request<ListSnapshotsRequest>) -> Answer<ListSnapshotsReply> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let matches: Vec<Snapshot> = held
            .snapshots
            .iter()
            .filter(|snapshot| wanted.run.as_ref().is_none_or(|run| *run == snapshot.run))
            .cloned()
            .collect();
        let (snapshots, next_page_token) =
            page(&matches, wanted.page_size, wanted.page_token.as_deref())?;
        Ok(Response::new(ListSnapshotsReply { snapshots, next_page_token }))
    }

    async fn delete(&self, request: Request<DeleteSnapshotRequest>) -> Answer<Snapshot> {
        let id = request.into_inner().id;
        let mut held = self.available()?;
        let found = held.snapshots.iter_mut().find(|snapshot| snapshot.id == id);
        let snapshot = found.ok_or(missing("snapshot"))?;
        snapshot.state = "deleted".to_owned();
        Ok(Response::new(snapshot.clone()))
    }

    async fn record(&self, _: Request<RecordRequest>) -> Answer<Snapshot> {
        Err(not_of_front_doors())
    }
}

#[tonic::async_trait]
impl Sandboxes for Memory {
    async fn list(&self, request: Request<ListRequest>) -> Answer<ListReply> {
        let wanted = request.into_inner();
        let held = self.available()?;
        let (sandboxes, next_page_token) =
            page(&held.sandboxes, wanted.page_size, wanted.page_token.as_deref())?;
        Ok(Response::new(ListReply { sandboxes, next_page_token }))
    }

    async fn create(&self, _: Request<CreateRequest>) -> Answer<CreateReply> {
        Err(not_of_front_doors())
    }

    async fn seal(&self, _: Request<SealRequest>) -> Answer<LayerContent> {
        Err(not_of_front_doors())
    }

    async fn destroy(&self, _: Request<DestroyRequest>) -> Answer<DestroyReply> {
        Err(not_of_front_doors())
    }
}

/// What only gate runners call; a page or route that did would show it.
fn not_of_front_doors() -> Status {
    status(ErrorCode::PermissionDenied, "this is for gate runners")
}
