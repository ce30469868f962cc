//! Runs under way in this process: each input goes through the state machine, and what it decides is written down.

mod recovery;
mod rows;
mod work;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandgate_domain::{
    Clock, GateResult, Ids, IsolationSummary, LayerId, Run, RunId, RunState as RowState,
    SnapshotId, StepId, TenantId, TrustTier, UnsupportedKey,
};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{Effect, Input, RunState, decide};
use sandgate_store::Store;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::logs::Logs;
use crate::progress::Progress;

pub use work::{Assignment, StepReport, Task};

/// How many events a slow watcher may lag behind before it misses output.
const WATCHER_BUFFER: usize = 4096;
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
    /// How well sandboxes are separated here.
    pub isolation: IsolationSummary,
}

/// The runs of one tenant. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    tenant: TenantId,
    logs: Logs,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    runs: Mutex<HashMap<RunId, Arc<ActiveRun>>>,
    ready: Mutex<VecDeque<(RunId, StepId)>>,
    work: Notify,
}

/// A run that this process drives.
struct ActiveRun {
    id: RunId,
    new: NewRun,
    steps: Vec<StepHandle>,
    watchers: broadcast::Sender<Progress>,
    verdict: watch::Sender<Option<GateResult>>,
    /// Why it can't go on here, once that is so.
    broken: watch::Sender<Option<String>>,
    state: tokio::sync::Mutex<RunState>,
    layers: Mutex<HashMap<String, LayerId>>,
    /// Tells other processes that this one drives the run.
    _hold: File,
}

/// One step of a run that this process drives.
struct StepHandle {
    id: StepId,
    name: String,
    cancelled: Mutex<CancellationToken>,
}

impl Agent {
    /// The agent over `store`, with logs below a folder of its own.
    pub fn new(
        store: Store,
        tenant: TenantId,
        logs: Logs,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        let inner = Inner {
            store,
            tenant,
            logs,
            clock,
            ids,
            runs: Mutex::default(),
            ready: Mutex::default(),
            work: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where logs are.
    pub fn logs(&self) -> &Logs {
        &self.inner.logs
    }

    /// Writes a run down. It begins with [`Agent::begin`], so that watchers miss nothing.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn create_run(&self, new: NewRun) -> Result<RunId, Error> {
        let id = RunId::new(&*self.inner.ids);
        let now = self.inner.clock.now();
        let state = RunState::new(&new.plan);
        let steps = rows::planned_steps(id, &self.inner, &new.plan, &state, now);
        let row = Run {
            id,
            tenant: self.inner.tenant.clone(),
            repository: new.repository.clone(),
            repository_key: new.repository_key.clone(),
            head_sha: new.head_sha.clone(),
            base_sha: new.base_sha.clone(),
            branch: new.branch.clone(),
            dirty: new.dirty,
            plan: serde_json::to_string(&new.plan)?,
            generation: 0,
            state: RowState::Queued,
            isolation: None,
            unsupported: new.unsupported.clone(),
            created_at: now,
            approved_snapshot: None,
        };
        // Held before it is written down: nobody may take it for the run of a process that is gone.
        let held = self.inner.logs.hold(id).map_err(|source| Error::Hold { run: id, source })?;
        let hold = held.ok_or(Error::NotRunning(id))?;
        self.inner.store.runs(&self.inner.tenant).create(&row, &steps).await?;
        let handle = |step: &sandgate_domain::Step| StepHandle {
            id: step.id,
            name: step.name.clone(),
            cancelled: Mutex::default(),
        };
        let active = ActiveRun {
            id,
            new,
            steps: steps.iter().map(handle).collect(),
            watchers: broadcast::channel(WATCHER_BUFFER).0,
            verdict: watch::channel(None).0,
            broken: watch::channel(None).0,
            state: tokio::sync::Mutex::new(state),
            layers: Mutex::default(),
            _hold: hold,
        };
        lock(&self.inner.runs).insert(id, Arc::new(active));
        Ok(id)
    }

    /// The names of the steps of a run, in the order in which they are shown.
    ///
    /// # Errors
    /// If the run is not under way here.
    pub fn step_names(&self, run: RunId) -> Result<Vec<String>, Error> {
        Ok(self.active(run)?.steps.iter().map(|step| step.name.clone()).collect())
    }

    /// Everything that happens to a run from now on.
    ///
    /// # Errors
    /// If the run is not under way here.
    pub fn watch(&self, run: RunId) -> Result<broadcast::Receiver<Progress>, Error> {
        Ok(self.active(run)?.watchers.subscribe())
    }

    /// Lets a run begin.
    ///
    /// # Errors
    /// If the run is not under way here, or the database refuses.
    pub async fn begin(&self, run: RunId) -> Result<(), Error> {
        let active = self.active(run)?;
        let now = self.inner.clock.now();
        let runs = self.inner.store.runs(&self.inner.tenant);
        runs.start(run, &active.new.isolation, now).await?;
        self.apply(&active, Input::Begin, None).await
    }

    /// Asks a run to stop.
    ///
    /// # Errors
    /// If the run is not under way here, or the database refuses.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Error> {
        let active = self.active(run)?;
        self.apply(&active, Input::Cancel { reason: reason.to_owned() }, None).await
    }

    /// Waits for the verdict of a run.
    ///
    /// # Errors
    /// If the run is not under way here, or can't go on.
    pub async fn verdict(&self, run: RunId) -> Result<GateResult, Error> {
        let active = self.active(run)?;
        let mut verdict = active.verdict.subscribe();
        let mut broken = active.broken.subscribe();
        tokio::select! {
            known = verdict.wait_for(Option::is_some) => {
                let known = known.map_err(|_| Error::NotRunning(run))?;
                (*known).ok_or(Error::NotRunning(run))
            }
            reason = broken.wait_for(Option::is_some) => {
                let reason = reason.map_err(|_| Error::NotRunning(run))?.clone();
                Err(Error::Broken { run, reason: reason.unwrap_or_default() })
            }
        }
    }

    /// What happened to a run can't be written down, so it can't go on here. Whoever waits for its verdict is told; the
    /// next start ends it.
    pub fn give_up(&self, run: RunId, reason: &str) {
        if let Ok(active) = self.active(run) {
            active.broken.send_replace(Some(reason.to_owned()));
        }
    }

    /// Writes the verdict of a run down, with the snapshot that its success made, and lets go of the run.
    ///
    /// # Errors
    /// If it has no verdict yet, or the database refuses.
    pub async fn close(&self, run: RunId, approved: Option<SnapshotId>) -> Result<(), Error> {
        let active = self.active(run)?;
        let result = active.state.lock().await.result().ok_or(Error::NotRunning(run))?;
        let now = self.inner.clock.now();
        self.inner.store.runs(&self.inner.tenant).end(run, result, approved, now).await?;
        lock(&self.inner.runs).remove(&run);
        Ok(())
    }

    /// Ends a run that did not begin: all its steps end with this result and reason.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn abandon(&self, run: RunId, result: GateResult, reason: &str) -> Result<(), Error> {
        self.inner.settle(run, result, reason).await?;
        lock(&self.inner.runs).remove(&run);
        Ok(())
    }

    /// The sealed layers of a gate and of those that it started from, the lowest first.
    ///
    /// # Errors
    /// If the run is not under way here.
    pub fn gate_layers(&self, run: RunId, gate: &str) -> Result<Vec<LayerId>, Error> {
        Ok(self.active(run)?.chain(Some(gate)))
    }

    fn active(&self, run: RunId) -> Result<Arc<ActiveRun>, Error> {
        lock(&self.inner.runs).get(&run).cloned().ok_or(Error::NotRunning(run))
    }

    /// Feeds one input to the state machine, writes down what it decided, and does what follows.
    async fn apply(
        &self,
        run: &Arc<ActiveRun>,
        input: Input,
        report: Option<&StepReport>,
    ) -> Result<(), Error> {
        let mut state = run.state.lock().await;
        let now = self.inner.clock.now();
        let (next, effects) =
            decide(&state, input, now).map_err(|source| Error::Decide { run: run.id, source })?;
        let ended = rows::newly_ended(&state, &next);
        *state = next;
        for (name, record) in ended {
            self.inner.write_end(run, &name, &record, report).await?;
        }
        for effect in effects {
            self.inner.act(run, effect, report).await?;
        }
        Ok(())
    }
}

impl Inner {
    async fn act(
        &self,
        run: &Arc<ActiveRun>,
        effect: Effect,
        report: Option<&StepReport>,
    ) -> Result<(), Error> {
        match effect {
            Effect::StartSetup { attempt } => self.enqueue(run, SETUP, attempt, report).await,
            Effect::StartGate { gate, attempt, .. } => {
                self.enqueue(run, gate.as_str(), attempt, report).await
            }
            Effect::CancelSetup { .. } => {
                run.stop(SETUP);
                Ok(())
            }
            Effect::CancelGate { gate, .. } => {
                run.stop(gate.as_str());
                Ok(())
            }
            Effect::EndRun { result } => {
                run.tell(Progress::Verdict { run: run.id, result });
                run.verdict.send_replace(Some(result));
                Ok(())
            }
        }
    }
}

impl ActiveRun {
    fn step(&self, name: &str) -> Option<&StepHandle> {
        self.steps.iter().find(|step| step.name == name)
    }

    fn stop(&self, name: &str) {
        if let Some(step) = self.step(name) {
            lock(&step.cancelled).cancel();
        }
    }

    fn tell(&self, event: Progress) {
        // Nobody watching is fine.
        let _watchers = self.watchers.send(event);
    }

    /// The sealed layers of the gate and of those that it started from, the lowest first.
    fn chain(&self, gate: Option<&str>) -> Vec<LayerId> {
        let layers = lock(&self.layers);
        let mut chain = Vec::new();
        let mut next = gate.map(str::to_owned);
        while let Some(name) = next {
            chain.extend(layers.get(&name));
            let planned = self.new.plan.gates.iter().find(|gate| gate.name.as_str() == name);
            next = planned.and_then(|gate| gate.from.as_ref()).map(|from| from.as_str().to_owned());
        }
        chain.reverse();
        chain
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
