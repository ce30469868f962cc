//! Events of pull requests become runs. Handling one twice makes one run: its key is the pull request and its revision.

use std::sync::Arc;
use std::time::Duration;

use sandgate_bus::{Bus, Delivery, Subscription, subjects};
use sandgate_domain::{BranchPushed, ErrorCode, PullRequestChanged, RunsSuperseded};
use sandgate_wire::Connection;
use sandgate_wire::pulls::v1::ReportUnplannedRequest;
use sandgate_wire::pulls::v1::pull_requests_client::PullRequestsClient;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::error::Error;
use crate::planning::{Planner, Subject};

/// The name of the subscription.
const SUBSCRIPTION: &str = "integration-agent-pr";
/// How long one event may take.
const LEASE: Duration = Duration::from_secs(60);
/// How often an event is tried.
const MAX_DELIVERIES: u32 = 8;
/// How many events are taken at a time.
const BATCH: u32 = 16;
/// How long to wait for the next event before asking again.
const WAIT: Duration = Duration::from_secs(5);
/// How long to wait before an event is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Turns events of pull requests into runs.
pub struct Consumer {
    agent: Agent,
    planner: Planner,
    pulls: PullRequestsClient<Connection>,
    bus: Arc<dyn Bus>,
}

impl Consumer {
    /// A consumer on `bus`; what can't be planned is reported over `pulls`.
    pub fn new(agent: Agent, planner: Planner, pulls: Connection, bus: Arc<dyn Bus>) -> Self {
        Self { agent, planner, pulls: PullRequestsClient::new(pulls), bus }
    }

    /// Makes the subscription, so that no event from now on is missed.
    ///
    /// # Errors
    /// If the bus refuses.
    pub async fn subscribe(&self) -> Result<(), sandgate_bus::Error> {
        let subscription = Subscription {
            name: SUBSCRIPTION.to_owned(),
            filters: vec![subjects::entity("pr"), subjects::entity("branch")],
            lease: LEASE,
            max_deliveries: MAX_DELIVERIES,
        };
        self.bus.subscribe(&subscription).await
    }

    /// Handles events until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = self.bus.fetch(SUBSCRIPTION, BATCH, WAIT) => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    for delivery in deliveries {
                        self.settle(&delivery).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "events of pull requests can't be fetched");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn settle(&self, delivery: &Delivery) {
        let handled = self.handle(delivery).await;
        sandgate_domain::fail_point::reached("event.handled");
        let answer = match handled {
            Ok(()) => self.bus.ack(delivery).await,
            Err(error) if is_passing(&error) => {
                let reason = error.chain();
                tracing::warn!(reason, "an event of a pull request is tried again");
                self.bus.nak(delivery, RETRY, &reason).await
            }
            Err(error) => {
                let reason = error.chain();
                tracing::error!(reason, "an event of a pull request can't be handled");
                self.bus.terminate(delivery, &reason).await
            }
        };
        if let Err(error) = answer {
            // It is delivered again, and handling it again changes nothing.
            tracing::warn!(%error, "an event could not be acknowledged");
        }
    }

    async fn handle(&self, delivery: &Delivery) -> Result<(), Error> {
        let event = delivery.message.event()?;
        match (event.kind.entity(), event.kind.event()) {
            ("pr", "superseded") => {
                let facts: RunsSuperseded = serde_json::from_value(event.data)?;
                let pull_request = facts.pull_request.to_string();
                let reason = "a newer commit was pushed";
                self.agent.supersede(&pull_request, narrow(facts.before), reason).await?;
                Ok(())
            }
            ("pr", _) => self.pull_request(serde_json::from_value(event.data)?).await,
            ("branch", "pushed") => self.pushed(serde_json::from_value(event.data)?).await,
            // Events of a later version: nothing of ours.
            _ => Ok(()),
        }
    }

    async fn pull_request(&self, facts: PullRequestChanged) -> Result<(), Error> {
        let id = facts.pull_request.to_string();
        let revision = narrow(facts.revision);
        let (below, reason) = if facts.open {
            (revision, "a newer commit was pushed")
        } else {
            (u32::MAX, "the pull request was closed")
        };
        self.agent.supersede(&id, below, reason).await?;
        if !facts.open || facts.held {
            return Ok(());
        }
        let subject = Subject {
            repository: facts.repository,
            head_sha: facts.head_sha,
            head_branch: Some(facts.head_branch),
            base_branch: Some(facts.base_branch),
            base_sha: facts.base_sha,
            tier: facts.tier.parse()?,
            pull_request: Some((id.clone(), revision)),
            request_key: Some(format!("{id}/{revision}")),
        };
        match self.planner.run(subject).await {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => self.report_unplanned(id, revision, &error).await,
        }
    }

    async fn pushed(&self, facts: BranchPushed) -> Result<(), Error> {
        let request_key = format!("{}@{}:{}", facts.repository, facts.branch, facts.head_sha);
        let subject = Subject {
            repository: facts.repository,
            head_sha: facts.head_sha,
            head_branch: Some(facts.branch),
            base_branch: None,
            base_sha: None,
            tier: facts.tier.parse()?,
            pull_request: None,
            request_key: Some(request_key),
        };
        self.planner.run(subject).await?;
        Ok(())
    }

    /// There is no run, and the pull request says why.
    async fn report_unplanned(
        &self,
        pull_request: String,
        revision: u32,
        error: &Error,
    ) -> Result<(), Error> {
        let conflicts =
            if let Error::Conflict { paths, .. } = error { paths.clone() } else { Vec::new() };
        let reason = error.chain();
        let revision = u64::from(revision);
        let request = ReportUnplannedRequest { pull_request, revision, reason, conflicts };
        self.pulls.clone().report_unplanned(request).await?;
        Ok(())
    }
}

/// Revisions count pushes; more than four thousand million of one pull request are taken for as many.
fn narrow(revision: u64) -> u32 {
    u32::try_from(revision).unwrap_or(u32::MAX)
}

/// Whether the same may go well a little later.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::Unavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::ResourceExhausted
            | ErrorCode::Internal
    )
}
