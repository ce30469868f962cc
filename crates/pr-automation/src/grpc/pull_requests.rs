//! The server of pull requests and deliveries.

use sandgate_store::{
    ArrivalSummary, InboxOutcome, PageRequest, PullRequestFilter, StoredPullRequest,
};
use sandgate_wire::pulls::v1::pull_requests_server::PullRequests;
use sandgate_wire::pulls::v1::{
    AcceptReply, AcceptRequest, ApproveRequest, CloseRequest, Delivery, GetPullRequestRequest,
    ListDeliveriesReply, ListDeliveriesRequest, ListPullRequestsReply, ListPullRequestsRequest,
    OpenRequest, PullRequest, PushRequest, RedeliverRequest, ReportUnplannedReply,
    ReportUnplannedRequest,
};
use sandgate_wire::{FieldError, optional_field, required_field};
use tonic::{Request, Response, Status};

use super::{key, position};
use crate::Error;
use crate::change::state_of;
use crate::convert;
use crate::local::Opening;
use crate::posting::{commit_target, pull_target};
use crate::results::Unplanned;
use crate::service::Core;

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;
/// The longest name of a person, in bytes.
const MAX_PERSON_BYTES: usize = 200;

#[tonic::async_trait]
impl PullRequests for Core {
    async fn accept(
        &self,
        request: Request<AcceptRequest>,
    ) -> Result<Response<AcceptReply>, Status> {
        Ok(Response::new(Core::accept(self, request.into_inner()).await?))
    }

    async fn get(
        &self,
        request: Request<GetPullRequestRequest>,
    ) -> Result<Response<PullRequest>, Status> {
        let GetPullRequestRequest { repository, number, id } = request.into_inner();
        let key = key(id.as_deref(), &repository, number)?;
        let stored = self.load(&self.store, &key).await?;
        self.reply(&stored).await
    }

    async fn list(
        &self,
        request: Request<ListPullRequestsRequest>,
    ) -> Result<Response<ListPullRequestsReply>, Status> {
        let ListPullRequestsRequest { repository, state, page_size, page_token } =
            request.into_inner();
        let name: Option<sandgate_forge::RepositoryName> =
            optional_field("repository", repository.as_deref())?;
        let filter = PullRequestFilter {
            repository_key: name.map(|name| name.key()),
            is_open: state.as_deref().map(is_open).transpose()?,
        };
        let request = PageRequest {
            limit: limit(page_size),
            after: optional_field("page_token", page_token.as_deref())?,
        };
        let pulls = self.store.pull_requests(&self.settings.tenant);
        let page = pulls.list(&filter, &request).await.map_err(Error::from)?;
        let mut pull_requests = Vec::with_capacity(page.items.len());
        for stored in &page.items {
            pull_requests.push(self.message(stored).await?);
        }
        let next_page_token = page.next.map(|cursor| cursor.to_string());
        Ok(Response::new(ListPullRequestsReply { pull_requests, next_page_token }))
    }

    async fn approve(
        &self,
        request: Request<ApproveRequest>,
    ) -> Result<Response<PullRequest>, Status> {
        let ApproveRequest { repository, number, sha, approver } = request.into_inner();
        let key = key(None, &repository, number)?;
        let head = required_field("sha", &sha)?;
        let by = person("approver", &approver)?;
        let stored = Core::approve(self, &key, &head, by, self.clock.now()).await?;
        self.reply(&stored).await
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<PullRequest>, Status> {
        let OpenRequest { repository, checkout, head_branch, base_branch, title, author } =
            request.into_inner();
        let opening = Opening {
            repository: required_field("repository", &repository)?,
            checkout,
            head_branch: required_field("head_branch", &head_branch)?,
            base_branch: optional_field("base_branch", base_branch.as_deref())?,
            title,
            author: person("author", &author)?.to_owned(),
        };
        let stored = self.open_pull(opening).await?;
        self.reply(&stored).await
    }

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PullRequest>, Status> {
        let PushRequest { repository, number, id, checkout } = request.into_inner();
        let key = key(id.as_deref(), &repository, number)?;
        let stored = self.push_pull(&key, &checkout).await?;
        self.reply(&stored).await
    }

    async fn close(&self, request: Request<CloseRequest>) -> Result<Response<PullRequest>, Status> {
        let CloseRequest { repository, number, id } = request.into_inner();
        let key = key(id.as_deref(), &repository, number)?;
        let stored = self.close_pull(&key).await?;
        self.reply(&stored).await
    }

    async fn report_unplanned(
        &self,
        request: Request<ReportUnplannedRequest>,
    ) -> Result<Response<ReportUnplannedReply>, Status> {
        let request = request.into_inner();
        let unplanned = Unplanned {
            pull: required_field("pull_request", &request.pull_request)?,
            revision: request.revision,
            reason: request.reason,
            conflicts: request.conflicts,
            code: request.code,
            is_passing: request.passing,
        };
        self.show_unplanned(&unplanned).await?;
        Ok(Response::new(ReportUnplannedReply {}))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesReply>, Status> {
        let ListDeliveriesRequest { page_size, page_token } = request.into_inner();
        let limit = limit(page_size);
        let inbox = self.store.inbox(&self.settings.tenant);
        let before = position(page_token.as_deref())?;
        let mut found = inbox.list(before, limit + 1).await.map_err(Error::from)?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next_page_token =
            found.last().filter(|_| has_more).map(|last| last.position.to_string());
        let deliveries = found.into_iter().map(delivery).collect();
        Ok(Response::new(ListDeliveriesReply { deliveries, next_page_token }))
    }

    async fn redeliver(
        &self,
        request: Request<RedeliverRequest>,
    ) -> Result<Response<AcceptReply>, Status> {
        Ok(Response::new(Core::redeliver(self, request.into_inner().delivery_id).await?))
    }
}

impl Core {
    async fn reply(&self, stored: &StoredPullRequest) -> Result<Response<PullRequest>, Status> {
        Ok(Response::new(self.message(stored).await?))
    }

    async fn message(&self, stored: &StoredPullRequest) -> Result<PullRequest, Error> {
        let postings = self.store.postings(&self.settings.tenant);
        let target = commit_target(&stored.repository_key, &stored.head_sha);
        let checks = postings.shown(&target).await?;
        let comment = postings.shown(&pull_target(stored)).await?.into_iter().next();
        let state = state_of(stored)?;
        convert::pull_request(stored, &state, &checks, comment.map(|posting| posting.content))
    }
}

fn delivery(arrival: ArrivalSummary) -> Delivery {
    let (outcome, reason) = match arrival.outcome {
        InboxOutcome::Queued => ("queued", None),
        InboxOutcome::Succeeded => ("succeeded", None),
        InboxOutcome::Ignored { reason } => ("ignored", Some(reason)),
        InboxOutcome::Failed { reason } => ("failed", Some(reason)),
    };
    Delivery {
        id: arrival.delivery_id,
        event: arrival.kind,
        repository: arrival.repository,
        outcome: outcome.to_owned(),
        reason,
        received_at: arrival.received_at.as_micros(),
    }
}

fn limit(page_size: u32) -> u32 {
    if page_size == 0 { DEFAULT_PAGE } else { page_size.min(LARGEST_PAGE) }
}

fn is_open(state: &str) -> Result<bool, FieldError> {
    match state {
        "open" => Ok(true),
        "closed" => Ok(false),
        _ => Err(FieldError { field: "state", problem: "it must be open or closed".to_owned() }),
    }
}

/// The name of a person: text from outside, bounded.
fn person<'t>(field: &'static str, name: &'t str) -> Result<&'t str, FieldError> {
    let is_good =
        (1..=MAX_PERSON_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    let problem = || format!("it must be 1 to {MAX_PERSON_BYTES} bytes without control characters");
    is_good.then_some(name).ok_or_else(|| FieldError { field, problem: problem() })
}
