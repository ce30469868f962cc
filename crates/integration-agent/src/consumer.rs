//! Events of pull requests become runs. Handling one twice makes one run: its key is the pull request and its revision.
//!
//! Events of one pull request are handled in order, those of different ones side by side. Each has a lease of its own, which
//! is extended for as long as it is held here. One that fails for a reason that may pass is tried again after growing waits;
//! when it is given up, its pull request says so, and whoever owns pull requests asks again later.

mod lanes;
mod retry;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sandgate_bus::{Bus, Delivery, Subscription, subjects};
use sandgate_domain::{BranchPushed, Event, PullRequestChanged, RunsSuperseded};
use sandgate_wire::Connection;
use sandgate_wire::pulls::v1::pull_requests_client::PullRequestsClient;
use sandgate_wire::pulls::v1::{GetPullRequestRequest, ReportUnplannedRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::error::Error;
use crate::planning::{Planner, Subject};
use lanes::Lanes;
use retry::{MAX_DELIVERIES, is_passing, wait_after};

/// The name of the subscription.
const SUBSCRIPTION: &str = "integration-agent-pr";
/// How long an event may be in hands that show no sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// How long one try may take: longer than the longest fetch of a source.
const TRY: Duration = Duration::from_secs(660);
/// How many pull requests are worked on at a time.
const SLOTS: usize = 8;
/// How many events are held at a time, those that wait for another one of their pull request among them.
const HELD: usize = 64;
/// How long to wait for the next event before asking again.
const WAIT: Duration = Duration::from_secs(5);
/// How long to wait after the bus refused.
const PAUSE: Duration = Duration::from_secs(2);
/// How long events in hand may take to end when the process stops.
const FAREWELL: Duration = Duration::from_secs(10);

type Fetching = BoxFuture<'static, Result<Vec<Delivery>, sandgate_bus::Error>>;

/// Turns events of pull requests into runs. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    agent: Agent,
    planner: Planner,
    pulls: PullRequestsClient<Connection>,
    bus: Arc<dyn Bus>,
    /// How often the leases of what is held are extended.
    heartbeat: Duration,
}

impl Consumer {
    /// A consumer on `bus`; what can't be planned is reported over `pulls`.
    pub fn new(agent: Agent, planner: Planner, pulls: Connection, bus: Arc<dyn Bus>) -> Self {
        let pulls = PullRequestsClient::new(pulls);
        Self { agent, planner, pulls, bus, heartbeat: LEASE / 3 }
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
        let mut lanes = Lanes::default();
        let mut working = JoinSet::new();
        let mut keys = HashMap::new();
        // Kept over the turns: a fetch that is dropped half way leaves events in nobody's hands until their lease is over.
        let mut fetching: Option<Fetching> = None;
        let mut heartbeat = tokio::time::interval(self.heartbeat);
        loop {
            while working.len() < SLOTS
                && let Some((key, delivery)) = lanes.start()
            {
                let task = working.spawn(self.clone().settle(delivery));
                keys.insert(task.id(), key);
            }
            let room = HELD.saturating_sub(lanes.held());
            if fetching.is_none() && room > 0 {
                fetching = Some(self.fetch(room));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = working.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                    if let Err(error) = ended {
                        tracing::error!(%error, "the handling of an event broke; it is delivered again");
                    }
                    lanes.end(keys.remove(&id));
                }
                fetched = next(&mut fetching) => {
                    fetching = None;
                    self.hold(&mut lanes, fetched).await;
                }
                _ = heartbeat.tick() => self.extend(&mut lanes).await,
            }
        }
        let ending = async { while working.join_next().await.is_some() {} };
        // What does not end in time is dropped where it is, and delivered again.
        let _ended = tokio::time::timeout(FAREWELL, ending).await;
    }

    fn fetch(&self, room: usize) -> Fetching {
        let bus = Arc::clone(&self.bus);
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        Box::pin(async move {
            let fetched = bus.fetch(SUBSCRIPTION, limit, WAIT).await;
            if fetched.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            fetched
        })
    }

    async fn hold(&self, lanes: &mut Lanes, fetched: Result<Vec<Delivery>, sandgate_bus::Error>) {
        match fetched {
            Ok(deliveries) => {
                for delivery in deliveries {
                    lanes.take(delivery);
                }
            }
            Err(error) => tracing::error!(%error, "events of pull requests can't be fetched"),
        }
    }

    /// Shows a sign of life for everything that is held. What is in other hands meanwhile is let go.
    async fn extend(&self, lanes: &mut Lanes) {
        for delivery in lanes.all() {
            match self.bus.extend(&delivery).await {
                Ok(()) => {}
                Err(sandgate_bus::Error::StaleLease { .. }) => lanes.forget(&delivery),
                Err(error) => tracing::warn!(%error, "the lease of an event was not extended"),
            }
        }
    }

    async fn settle(self, delivery: Delivery) {
        let outcome = match tokio::time::timeout(TRY, self.handle(&delivery)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Slow { seconds: TRY.as_secs() }),
        };
        let answer = match outcome {
            Ok(()) => {
                sandgate_domain::fail_point::reached("event.handled");
                self.bus.ack(&delivery).await
            }
            Err(error) => self.answer(&delivery, error).await,
        };
        match answer {
            Ok(()) => {}
            // It was acknowledged by whoever has it now, or will be.
            Err(sandgate_bus::Error::StaleLease { .. }) => {}
            // It is delivered again, and handling it again changes nothing.
            Err(error) => tracing::warn!(%error, "an event could not be acknowledged"),
        }
    }

    /// Tries again later, or gives up; then the pull request says why it has no run.
    async fn answer(&self, delivery: &Delivery, error: Error) -> Result<(), sandgate_bus::Error> {
        let is_last = delivery.number >= MAX_DELIVERIES;
        if is_passing(&error) && !is_last {
            return self.try_again(delivery, &error).await;
        }
        match self.report(delivery, &error).await {
            Ok(true) if !is_passing(&error) => self.bus.ack(delivery).await,
            Err(failure) if is_passing(&failure) && !is_last => {
                self.try_again(delivery, &failure).await
            }
            reported => {
                let reason = error.chain();
                let unreported = reported.err().map(|failure| failure.chain());
                tracing::error!(reason, unreported, "an event of a pull request is given up");
                self.bus.terminate(delivery, &reason).await
            }
        }
    }

    async fn try_again(
        &self,
        delivery: &Delivery,
        error: &Error,
    ) -> Result<(), sandgate_bus::Error> {
        let (reason, wait) = (error.chain(), wait_after(delivery.number));
        let seconds = wait.as_secs();
        tracing::warn!(reason, wait_seconds = seconds, "an event of a pull request is tried again");
        self.bus.nak(delivery, wait, &reason).await
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
        if !wants_run(&facts) || !self.is_present(&id, revision).await? {
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
        self.planner.run(subject).await?;
        Ok(())
    }

    /// Whether nothing newer is known of the pull request. An event that was tried again comes after newer ones.
    async fn is_present(&self, id: &str, revision: u32) -> Result<bool, Error> {
        let request =
            GetPullRequestRequest { id: Some(id.to_owned()), ..GetPullRequestRequest::default() };
        Ok(self.pulls.clone().get(request).await?.into_inner().generation <= revision)
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

    /// There is no run, and the pull request says why. False if the event is about no pull request that waits for one.
    async fn report(&self, delivery: &Delivery, error: &Error) -> Result<bool, Error> {
        let Some(facts) = delivery.message.event().ok().as_ref().and_then(waiting) else {
            return Ok(false);
        };
        let conflicts =
            if let Error::Conflict { paths, .. } = error { paths.clone() } else { Vec::new() };
        let request = ReportUnplannedRequest {
            pull_request: facts.pull_request.to_string(),
            revision: facts.revision,
            reason: error.chain(),
            conflicts,
            code: error.code().as_str().to_owned(),
            passing: is_passing(error),
        };
        self.pulls.clone().report_unplanned(request).await?;
        Ok(true)
    }
}

async fn next(fetching: &mut Option<Fetching>) -> Result<Vec<Delivery>, sandgate_bus::Error> {
    match fetching {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}

/// What an event says of a pull request that waits for a run.
fn waiting(event: &Event) -> Option<PullRequestChanged> {
    if event.kind.entity() != "pr" || event.kind.event() == "superseded" {
        return None;
    }
    serde_json::from_value(event.data.clone()).ok().filter(wants_run)
}

fn wants_run(facts: &PullRequestChanged) -> bool {
    facts.open && !facts.held
}

/// Revisions count pushes; more than four thousand million of one pull request are taken for as many.
fn narrow(revision: u64) -> u32 {
    u32::try_from(revision).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
