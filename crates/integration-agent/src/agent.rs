//! Runs: each input goes through the state machine in one transaction, together with the steps that it changes and the
//! events that tell of it. What is in memory here only wakes and informs; the database is the truth.

mod advance;
mod assignment;
mod begin;
mod close;
mod complete;
mod handover;
mod hold;
mod lose;
mod output;
mod reasons;
mod recover;
mod rows;
mod runners;
mod saved;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandgate_domain::{
    Clock, GateResult, Ids, Run, RunId, RunState as RowState, Step, StepId, TenantId, TrustTier,
    UnsupportedKey,
};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Input, RunState};
use sandgate_store::{Page, PageRequest, RunFilter, Store};
use tokio::sync::{Notify, broadcast, watch};

use crate::error::Error;
use crate::logs::Logs;
use crate::open_logs::OpenLogs;
use crate::progress::Progress;

use handover::Waiting;
use runners::Runners;

pub use advance::OUTBOX;
pub(crate) use assignment::{Assignment, Held, StepReport};
pub(crate) use reasons::needed;
pub use recover::Recovered;
pub use saved::{RunSource, Saved};
pub(crate) use work::Claimer;

/// How many events a slow watcher may lag behind before it misses output.
const WATCHER_BUFFER: usize = 4096;
/// How often somebody who waits for a change looks by himself: another process may have made it.
const LOOK: Duration = Duration::from_secs(1);
/// The name of the setup among the steps of a run.
pub const SETUP: &str = "setup";

/// A run to be made.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The repository as people name it.
    pub repository: String,
    /// The repository as it is looked up.
    pub repository_key: String,
    /// The commit that is tested.
    pub head_sha: String,
    /// The commit that it would be merged into.
    pub base_sha: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// Whether the working tree is tested, and differs from the commit.
    pub dirty: bool,
    /// How far its author is trusted.
    pub tier: TrustTier,
    /// What is done.
    pub plan: Plan,
    /// Keys of the configuration that can't be done yet.
    pub unsupported: Vec<UnsupportedKey>,
    /// Where its files are, if any process may read them there; none: the caller prepares them itself.
    pub source: Option<RunSource>,
    /// Whether its success is that of all gates, and so makes an approved snapshot.
    pub is_whole: bool,
    /// The pull request that it belongs to.
    pub pull_request: Option<String>,
    /// The revision of that pull request.
    pub revision: u32,
    /// What asks for it: a second request with the same key finds the same run.
    pub request_key: Option<String>,
}

/// The runs of one tenant. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

/// What an agent is made of.
pub struct AgentParts {
    /// The database.
    pub store: Store,
    /// Whose runs.
    pub tenant: TenantId,
    /// What steps write.
    pub logs: Logs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// Woken when an event waits to be published.
    pub relay: Arc<Notify>,
}

struct Inner {
    parts: AgentParts,
    watched: Mutex<HashMap<RunId, Watched>>,
    open_logs: OpenLogs,
    /// A step may be claimed.
    work: Notify,
    waiting: Waiting,
    runners: Runners,
    /// What was last told of why steps wait.
    told: Mutex<HashMap<StepId, String>>,
    /// A step is to stop, or is not held any more.
    stops: Notify,
}

/// Whoever waits for a run.
#[derive(Clone)]
struct Watched {
    progress: broadcast::Sender<Progress>,
    verdict: watch::Sender<Option<GateResult>>,
}

impl Agent {
    /// The agent over its parts.
    pub fn new(parts: AgentParts) -> Self {
        let inner = Inner {
            open_logs: OpenLogs::new(parts.logs.clone()),
            parts,
            watched: Mutex::default(),
            work: Notify::new(),
            waiting: Waiting::default(),
            runners: Runners::default(),
            told: Mutex::default(),
            stops: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whose runs.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.inner.parts.tenant
    }

    /// Where logs are.
    pub fn logs(&self) -> &Logs {
        &self.inner.parts.logs
    }

    /// Writes a run down, or finds the one that the same request made before. It begins with [`Agent::begin`].
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn create_run(&self, new: NewRun) -> Result<RunId, Error> {
        Ok(self.find_or_create_run(new).await?.0)
    }

    /// As [`Agent::create_run`], and whether the same request had made it before.
    pub(crate) async fn find_or_create_run(&self, new: NewRun) -> Result<(RunId, bool), Error> {
        let parts = &self.inner.parts;
        let transaction = parts.store.begin().await?;
        if let Some(key) = &new.request_key
            && let Some(run) = transaction.runs(&parts.tenant).of_request(key).await?
        {
            return Ok((run.id, true));
        }
        let id = RunId::new(&*parts.ids);
        let now = parts.clock.now();
        let state = RunState::new(&new.plan);
        let steps = rows::planned_steps(id, &self.inner, &new.plan, &state, now);
        let saved = Saved::new(state, new.tier, new.source, new.is_whole);
        let row = Run {
            id,
            tenant: parts.tenant.clone(),
            repository: new.repository,
            repository_key: new.repository_key,
            head_sha: new.head_sha,
            base_sha: new.base_sha,
            branch: new.branch,
            dirty: new.dirty,
            plan: serde_json::to_string(&new.plan)?,
            progress: serde_json::to_string(&saved)?,
            pull_request: new.pull_request,
            request_key: new.request_key,
            generation: new.revision,
            state: RowState::Queued,
            isolation: None,
            unsupported: new.unsupported,
            created_at: now,
            approved_snapshot: None,
        };
        transaction.runs(&parts.tenant).create(&row, &steps).await?;
        self.inner.emit(&transaction, "queued", &row, None).await?;
        transaction.commit().await?;
        parts.relay.notify_one();
        Ok((id, false))
    }

    /// The run that a request with this key made before.
    pub(crate) async fn run_of_request(&self, key: &str) -> Result<Option<Run>, Error> {
        let parts = &self.inner.parts;
        Ok(parts.store.runs(&parts.tenant).of_request(key).await?)
    }

    /// A run and its steps, in the order in which they are shown.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn run(&self, id: RunId) -> Result<(Run, Vec<Step>), Error> {
        let parts = &self.inner.parts;
        let run = parts.store.runs(&parts.tenant).get(id).await?.ok_or(Error::NoRun(id))?;
        let steps = parts.store.steps(&parts.tenant).of_run(id).await?;
        Ok((run, steps))
    }

    /// One step.
    ///
    /// # Errors
    /// If there is no such step, or the database refuses.
    pub async fn step(&self, id: StepId) -> Result<Step, Error> {
        let parts = &self.inner.parts;
        parts.store.steps(&parts.tenant).get(id).await?.ok_or(Error::NoStep(id))
    }

    /// The runs that pass the filter, the newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn list(&self, filter: &RunFilter, page: &PageRequest) -> Result<Page<Run>, Error> {
        let parts = &self.inner.parts;
        Ok(parts.store.runs(&parts.tenant).list(filter, page).await?)
    }

    /// Everything that happens to a run from now on, in this process.
    pub fn watch(&self, run: RunId) -> broadcast::Receiver<Progress> {
        self.inner.watched(run).progress.subscribe()
    }

    /// Asks a run to stop. One that has ended stays as it is.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Error> {
        self.inner.apply(run, Input::Cancel { reason: reason.to_owned() }).await?;
        Ok(())
    }

    /// Cancels the runs of older revisions of a pull request; how many.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn supersede(
        &self,
        pull_request: &str,
        revision: u32,
        reason: &str,
    ) -> Result<usize, Error> {
        let parts = &self.inner.parts;
        let mut cancelled = 0;
        for run in parts.store.runs(&parts.tenant).unfinished(10_000).await? {
            let is_older =
                run.pull_request.as_deref() == Some(pull_request) && run.generation < revision;
            if is_older {
                self.cancel(run.id, reason).await?;
                cancelled += 1;
            }
        }
        Ok(cancelled)
    }

    /// Waits for the verdict of a run, whoever brings it about.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn verdict(&self, run: RunId) -> Result<GateResult, Error> {
        let mut verdict = self.inner.watched(run).verdict.subscribe();
        let mut known = self.run(run).await.map(|(run, _)| run.state.result());
        while let Ok(None) = known {
            // Announced or not: what counts is what is written down.
            let _woken = tokio::time::timeout(LOOK, verdict.wait_for(Option::is_some)).await;
            known = self.run(run).await.map(|(run, _)| run.state.result());
        }
        drop(verdict);
        self.let_go(run);
        known?.ok_or(Error::NoRun(run))
    }

    /// Forgets whoever waited for a run that has ended: nothing happens to it any more. Those who still listen are kept.
    pub(crate) fn let_go(&self, run: RunId) {
        let mut all = lock(&self.inner.watched);
        let is_idle = all.get(&run).is_some_and(|watched| {
            watched.progress.receiver_count() == 0 && watched.verdict.receiver_count() == 0
        });
        if is_idle {
            all.remove(&run);
        }
    }

    /// Ends a run that did not begin: all its steps end with this result and reason.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn abandon(&self, run: RunId, result: GateResult, reason: &str) -> Result<(), Error> {
        self.inner.end_all(run, result, reason).await
    }
}

impl Inner {
    fn watched(&self, run: RunId) -> Watched {
        let mut watched = lock(&self.watched);
        let made = watched.entry(run).or_insert_with(|| Watched {
            progress: broadcast::channel(WATCHER_BUFFER).0,
            verdict: watch::channel(None).0,
        });
        made.clone()
    }

    fn tell(&self, run: RunId, event: Progress) {
        if let Some(watchers) = self.watchers(run) {
            // Nobody watching is fine.
            let _watchers = watchers.send(event);
        }
    }

    /// Whoever watches a run, if somebody ever did.
    fn watchers(&self, run: RunId) -> Option<broadcast::Sender<Progress>> {
        lock(&self.watched).get(&run).map(|watched| watched.progress.clone())
    }

    fn announce(&self, run: RunId, result: GateResult) {
        self.tell(run, Progress::Verdict { run, result });
        let watched = lock(&self.watched).remove(&run);
        if let Some(watched) = watched {
            watched.verdict.send_replace(Some(result));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
