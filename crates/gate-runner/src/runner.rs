//! The loop: claim steps, execute each, report how it ended.
//!
//! One claim is under way at a time, and each report asks for more; whoever hands steps out knows what those under way hold,
//! so nothing is promised twice.

use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{Clock, RunId};
use sandgate_engine::admission::remark;
use sandgate_engine::run::Outcome;
use sandgate_wire::agent::v1::agent_client::AgentClient;
use sandgate_wire::agent::v1::{self as wire, ClaimRequest};
use sandgate_wire::node::v1::{MeasureRequest, RepositorySource};
use sandgate_wire::token::with_step_token;
use sandgate_wire::{Connection, MAX_AGENT_BYTES, required_field};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::assignment::{Assignment, StepReport};
use crate::error::{Error, may_pass};
use crate::log::LogStart;
use crate::prepare::{Origin, Prepared, prepare};
use crate::prepared::PreparedRuns;
use crate::room::{self, Gauges, Limits};
use crate::services::Services;

/// How long to wait after the agent refused.
const BACKOFF: Duration = Duration::from_millis(500);
/// How long one call waits for a step, in milliseconds: what was measured before it is at most so old.
const WAIT_MS: u32 = 2000;
/// How long the agent may refuse to hand out steps of a run that only this process can go on with.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long steps that are under way may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a runner works with.
#[derive(Clone)]
pub struct RunnerParts {
    /// Who hands out steps and takes results.
    pub agent: AgentClient<Connection>,
    /// The way to who makes sandboxes.
    pub sandboxes: Connection,
    /// The way to the machine that they are on.
    pub node: Connection,
    /// The way to who knows layers and snapshots.
    pub snapshots: Connection,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The name of this runner.
    pub owner: String,
}

/// A gate runner. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    pub(crate) parts: RunnerParts,
    pub(crate) services: Services,
    prepared: Arc<PreparedRuns>,
    gauges: Gauges,
}

/// Whoever claims steps, and executes one.
#[derive(Clone)]
struct Worker {
    runner: Runner,
    limits: Limits,
    only: Option<RunId>,
    /// No step is claimed any more.
    stop: CancellationToken,
    /// Steps under way are handed back.
    leave: CancellationToken,
}

impl Runner {
    /// A runner that holds nothing yet.
    pub fn new(mut parts: RunnerParts) -> Self {
        parts.agent = parts
            .agent
            .max_decoding_message_size(MAX_AGENT_BYTES)
            .max_encoding_message_size(MAX_AGENT_BYTES);
        let way = |connection: &Connection| connection.clone();
        let services =
            Services::new(way(&parts.snapshots), way(&parts.sandboxes), way(&parts.node));
        Self { parts, services, prepared: Arc::default(), gauges: Gauges::default() }
    }

    /// Turns the files of a run into layers, before its steps can be claimed, and keeps what is known of them until the run
    /// has ended.
    ///
    /// # Errors
    /// If the files can't be read or written.
    pub async fn prepare(
        &self,
        run: RunId,
        origin: Origin,
        plan: &sandgate_engine::plan::Plan,
        tier: sandgate_domain::TrustTier,
    ) -> Result<Arc<Prepared>, Error> {
        let prepared = Arc::new(prepare(&self.services, origin, plan, tier).await?);
        self.prepared.pin(run, &prepared);
        Ok(prepared)
    }

    /// What was prepared of a run; prepared now, if its files can be read by anybody. None: the step is to stop.
    pub(crate) async fn prepared(
        &self,
        assignment: &Assignment,
    ) -> Result<Option<Arc<Prepared>>, Error> {
        let run = assignment.run.id;
        if let Some(prepared) = self.prepared.get(run) {
            return Ok(Some(prepared));
        }
        let source = assignment.source.clone().ok_or(Error::NotPrepared)?;
        let origin = Origin::Repository(RepositorySource {
            folder: source.folder.display().to_string(),
            sha: source.sha,
            base_sha: source.base,
            branch: source.branch,
        });
        let (runner, plan, tier) = (self.clone(), assignment.plan.clone(), assignment.tier);
        unless_cancelled(assignment, async move {
            let prepared = Arc::new(prepare(&runner.services, origin, &plan, tier).await?);
            runner.prepared.keep(run, &prepared);
            Ok(prepared)
        })
        .await
    }

    /// Shows what there is for steps, and what they hold, among the metrics of the process.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.gauges.register(registry);
    }

    /// Works on as many steps at a time as there is room for, of one run or of all, until `stop` is cancelled. Those under way
    /// then have a little time to end; after it they are stopped and handed back, for whoever serves next.
    ///
    /// # Errors
    /// If the agent refuses for so long that the one run can't go on. Of all runs, better times are waited for.
    pub async fn serve(
        &self,
        limits: Limits,
        only: Option<RunId>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let (runner, leave) = (self.clone(), CancellationToken::new());
        let worker = Worker { runner, limits, only, stop: stop.clone(), leave: leave.clone() };
        let (sender, mut claimed) = mpsc::channel(1);
        let claiming = worker.claim_all(sender);
        let grace = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
            leave.cancel();
            std::future::pending::<()>().await;
        };
        tokio::pin!(claiming, grace);
        let (mut is_claiming, mut steps) = (true, JoinSet::new());
        while is_claiming || !steps.is_empty() {
            tokio::select! {
                biased;
                Some(message) = claimed.recv() => {
                    steps.spawn(worker.clone().work(message));
                }
                Some(ended) = steps.join_next() => {
                    for message in joined(ended)? {
                        steps.spawn(worker.clone().work(message));
                    }
                }
                ended = &mut claiming, if is_claiming => {
                    ended?;
                    is_claiming = false;
                    while let Ok(message) = claimed.try_recv() {
                        steps.spawn(worker.clone().work(message));
                    }
                }
                () = &mut grace => {}
            }
        }
        Ok(())
    }
}

/// What comes after a step; that one can't go on ends the others with the set.
fn joined(
    ended: Result<Result<Vec<wire::Assignment>, Error>, tokio::task::JoinError>,
) -> Result<Vec<wire::Assignment>, Error> {
    match ended {
        Ok(worked) => worked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Does something that is of use even if the step is not: when the step is cancelled it goes on, and nobody waits for it.
pub(crate) async fn unless_cancelled<T: Send + 'static>(
    assignment: &Assignment,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<Option<T>, Error> {
    let working = tokio::spawn(work);
    tokio::select! {
        () = assignment.cancelled.cancelled() => Ok(None),
        ended = working => match ended {
            Ok(done) => done.map(Some),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        },
    }
}

impl Worker {
    /// Claims until it is time to stop.
    async fn claim_all(&self, claimed: mpsc::Sender<wire::Assignment>) -> Result<(), Error> {
        while let Some(messages) = self.claim().await? {
            for message in messages {
                if claimed.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Executes a step; the steps that come after it.
    async fn work(self, message: wire::Assignment) -> Result<Vec<wire::Assignment>, Error> {
        match self.perform(message).await {
            Ok(following) => Ok(following),
            Err(error) => {
                tracing::error!(error = error.chain(), "a step could not be reported");
                if self.only.is_some() {
                    return Err(Error::Stuck(Box::new(error)));
                }
                Ok(Vec::new())
            }
        }
    }

    /// Steps; none: it is time to stop.
    async fn claim(&self) -> Result<Option<Vec<wire::Assignment>>, Error> {
        let mut refused_since = None;
        loop {
            let asked = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                asked = self.ask() => asked,
            };
            let status = match asked {
                Ok(messages) if messages.is_empty() => {
                    refused_since = None;
                    continue;
                }
                Ok(messages) => return Ok(Some(messages)),
                Err(status) => status,
            };
            tracing::error!(status = status.message(), "a step could not be claimed");
            let since: Instant = *refused_since.get_or_insert_with(Instant::now);
            if self.only.is_some() && (since.elapsed() > PATIENCE || !may_pass(&status)) {
                return Err(Error::Stuck(Box::new(status.into())));
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn ask(&self) -> Result<Vec<wire::Assignment>, tonic::Status> {
        let request = self.request().await?;
        let mut agent = self.runner.parts.agent.clone();
        Ok(agent.claim(request).await?.into_inner().assignments)
    }

    /// A claim with what there is now.
    async fn request(&self) -> Result<ClaimRequest, tonic::Status> {
        let mut node = self.runner.services.node.clone();
        let measured = node.measure(MeasureRequest {}).await?.into_inner();
        let room = self.limits.room(&measured);
        self.runner.gauges.measured(&room);
        Ok(ClaimRequest {
            owner: self.runner.parts.owner.clone(),
            run: self.only.map(|run| run.to_string()),
            wait_ms: WAIT_MS,
            room: Some(room::message(&room)),
        })
    }

    /// A claim to go along with a report, which does not depend on it.
    async fn next_request(&self) -> Option<ClaimRequest> {
        if self.stop.is_cancelled() {
            return None;
        }
        match self.request().await {
            Ok(request) => Some(request),
            Err(status) => {
                tracing::warn!(error = status.message(), "the machine can't be measured");
                None
            }
        }
    }

    /// Executes one step and reports it; what goes wrong on our side is an outcome, too. The next steps.
    async fn perform(&self, message: wire::Assignment) -> Result<Vec<wire::Assignment>, Error> {
        let agent = self.runner.parts.agent.clone();
        let assignment = Assignment::read(message, LogStart { agent })?;
        let assignment = &assignment;
        let _promised = self.runner.gauges.promise(assignment.asks());
        let work = async {
            let report = self.execute(assignment).await;
            let log_end = assignment.log.flush().await;
            self.report(assignment, report, log_end).await
        };
        let leaving = async {
            self.leave.cancelled().await;
            assignment.cancelled.cancel();
            std::future::pending().await
        };
        tokio::select! {
            reported = work => reported,
            () = self.runner.hold(assignment) => Err(Error::NotPrepared),
            error = leaving => Err(error),
        }
    }

    async fn execute(&self, assignment: &Assignment) -> StepReport {
        let executed = self.runner.execute(assignment).await;
        let mut report = executed.unwrap_or_else(|error| self.our_fault(assignment, &error));
        let is_cancelled = matches!(report.outcome, Outcome::Cancelled { .. });
        if is_cancelled && self.leave.is_cancelled() && !assignment.lease.is_unwanted() {
            // It is still wanted: another attempt of the next start.
            report.outcome = Outcome::Infra { reason: "the server was stopped".to_owned() };
        }
        let alone = remark(assignment.asks(), self.runner.gauges.share());
        let alone = alone.filter(|_| report.started_at.is_some());
        report.note = match (report.note, alone) {
            (Some(note), Some(alone)) => Some(format!("{note}; {alone}")),
            (note, alone) => note.or(alone),
        };
        report
    }

    /// Reports until the report is taken, or the step is not ours any more.
    async fn report(
        &self,
        assignment: &Assignment,
        report: StepReport,
        log_end: u64,
    ) -> Result<Vec<wire::Assignment>, Error> {
        let mut message = report.message(log_end)?;
        let mut is_shortened = false;
        loop {
            message.next = self.next_request().await;
            let request = with_step_token(message.clone(), &assignment.lease.token());
            let status = match self.runner.parts.agent.clone().complete(request).await {
                Ok(reply) => return self.close(assignment, reply.into_inner()).await,
                Err(status) => status,
            };
            let step = &assignment.name;
            if assignment.lease.is_lost() || is_stale(&status) {
                tracing::warn!(
                    step.name = step,
                    "somebody else has the step; what came out is dropped"
                );
                return Ok(Vec::new());
            }
            let is_ours = self.runner.parts.clock.now() < assignment.lease.until();
            if may_pass(&status) && is_ours {
                tracing::warn!(
                    step.name = step,
                    status = status.message(),
                    "a result is reported again"
                );
                tokio::time::sleep(BACKOFF).await;
            } else if may_pass(&status) || is_shortened {
                return Err(status.into());
            } else {
                // What exactly came out is not accepted; that something did must be.
                let reason = format!("its result was refused: {}", status.message());
                let outcome = Outcome::Infra { reason };
                message = StepReport::of(outcome, report.ended_at).message(log_end)?;
                is_shortened = true;
            }
        }
    }

    /// Lets go of a run that has its verdict.
    async fn close(
        &self,
        assignment: &Assignment,
        reply: wire::CompleteReply,
    ) -> Result<Vec<wire::Assignment>, Error> {
        if reply.verdict.is_some() {
            sandgate_domain::fail_point::reached("run.ended");
            self.runner.prepared.forget(assignment.run.id);
            if let Err(error) = self.remove(&reply.gate_layers).await {
                let error = error.chain();
                tracing::warn!(run.id = %assignment.run.id, error, "files of gates stay for a while");
            }
        }
        Ok(reply.next)
    }

    /// The files of gates in which others started are of no use when the run is over, unless a snapshot stands on them.
    async fn remove(&self, gate_layers: &[String]) -> Result<(), Error> {
        if gate_layers.is_empty() {
            return Ok(());
        }
        let layers: Result<Vec<_>, _> =
            gate_layers.iter().map(|layer| required_field("gate_layers", layer)).collect();
        self.runner.services.forget_layers(&layers?).await
    }

    fn our_fault(&self, assignment: &Assignment, error: &Error) -> StepReport {
        let reason = error.chain();
        tracing::warn!(run.id = %assignment.run.id, step.name = assignment.name, reason, "a step could not be run");
        StepReport::of(Outcome::Infra { reason }, self.runner.parts.clock.now())
    }
}

/// Whether the agent knows of a later claim, or of the end of the step.
fn is_stale(status: &tonic::Status) -> bool {
    sandgate_wire::error_code(status) == sandgate_domain::ErrorCode::Conflict
}
