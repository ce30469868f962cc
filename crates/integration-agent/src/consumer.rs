//! Events of pull requests become runs. Handling one twice makes one run: its key is the pull request and its revision.

use std::sync::Arc;
use std::time::Duration;

use sandgate_bus::{Bus, Delivery, Subscription, subjects};
use sandgate_domain::{ErrorCode, TrustTier};
use sandgate_wire::Connection;
use sandgate_wire::pulls::v1::ReportUnplannedRequest;
use sandgate_wire::pulls::v1::pull_requests_client::PullRequestsClient;
use serde::Deserialize;
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

/// What an event of a pull request says; fields that it does not have are taken as unknown.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullRequestFacts {
    repository: String,
    #[serde(default)]
    pull_request: Option<String>,
    #[serde(default)]
    revision: u32,
    head_sha: String,
    #[serde(default)]
    head_branch: Option<String>,
    #[serde(default)]
    base_branch: Option<String>,
    #[serde(default)]
    base_sha: Option<String>,
    tier: TrustTier,
    #[serde(default)]
    held: bool,
}

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
            filters: vec![subjects::entity("pr"), subjects::entity("push")],
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
        let answer = match self.handle(delivery).await {
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
        let facts: PullRequestFacts = serde_json::from_value(event.data.clone())?;
        if let Some(pull_request) = &facts.pull_request {
            let (below, reason) = match event.kind.event() {
                "closed" => (u32::MAX, "the pull request was closed"),
                _ => (facts.revision, "a newer commit was pushed"),
            };
            self.agent.supersede(pull_request, below, reason).await?;
        }
        let starts = matches!(
            event.kind.event(),
            "opened" | "synchronize" | "reopened" | "ready_for_review" | "approved" | "pushed"
        );
        if !starts || facts.held {
            return Ok(());
        }
        self.start(facts, &event.id.to_string()).await
    }

    async fn start(&self, facts: PullRequestFacts, event: &str) -> Result<(), Error> {
        let revision = facts.revision;
        let pull_request = facts.pull_request.clone();
        let request_key = match &pull_request {
            Some(id) => format!("{id}/{revision}"),
            None => format!("push:{event}"),
        };
        let planned = self
            .planner
            .run(Subject {
                repository: facts.repository,
                head_sha: facts.head_sha,
                head_branch: facts.head_branch,
                base_branch: facts.base_branch,
                base_sha: facts.base_sha,
                tier: facts.tier,
                pull_request: pull_request.clone().map(|id| (id, revision)),
                request_key: Some(request_key),
            })
            .await;
        match (planned, pull_request) {
            (Ok(_), _) => Ok(()),
            (Err(error), Some(pull_request)) if !is_passing(&error) => {
                self.report_unplanned(pull_request, revision, &error).await
            }
            (Err(error), _) => Err(error),
        }
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
