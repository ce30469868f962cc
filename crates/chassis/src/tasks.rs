//! The tasks of a process: each has a name and a stage, none goes missing, and they stop in order.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{Error, Shutdown};

/// How long the tasks of one stage may take to stop.
const STAGE_LIMIT: Duration = Duration::from_secs(30);

/// When a task is stopped; the first stage is stopped first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Listeners: nothing new comes in.
    Inbound,
    /// Whoever does the work.
    Workers,
    /// Whoever hands events on.
    Relay,
    /// Whoever writes the truth down.
    Store,
    /// Whoever tells what happened.
    Telemetry,
}

impl Stage {
    const ALL: [Self; 5] =
        [Self::Inbound, Self::Workers, Self::Relay, Self::Store, Self::Telemetry];
}

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// All tasks of a process. Dropping it aborts them.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    soft: [CancellationToken; Stage::ALL.len()],
    running: JoinSet<Outcome>,
    named: HashMap<Id, Task>,
}

#[derive(Debug)]
struct Task {
    stage: Stage,
    name: &'static str,
    abort: AbortHandle,
}

impl Tasks {
    /// No tasks yet. They stop when `shutdown` says so.
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            soft: std::array::from_fn(|_| CancellationToken::new()),
            running: JoinSet::new(),
            named: HashMap::new(),
        }
    }

    /// The tokens that tasks of this stage watch: the soft one is cancelled when its turn comes.
    pub fn shutdown(&self, stage: Stage) -> Shutdown {
        Shutdown { soft: self.soft[stage as usize].clone(), hard: self.shutdown.hard.clone() }
    }

    /// Starts a task that runs until its stage is stopped. If it ends earlier, the process stops.
    pub fn spawn<E>(
        &mut self,
        stage: Stage,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let handle = self.running.spawn(async move { task.await.map_err(Into::into) });
        self.named.insert(handle.id(), Task { stage, name, abort: handle });
    }

    /// Waits for the soft stop or for the first task that ends without being told to; then stops everything in order.
    ///
    /// # Errors
    /// [`Error::TaskFailed`], [`Error::TaskPanicked`] or [`Error::TaskEnded`]: the first task that did not end as it should.
    pub async fn run(mut self) -> Result<(), Error> {
        let soft = self.shutdown.soft.clone();
        let mut first = None;
        tokio::select! {
            biased;
            () = soft.cancelled() => {}
            Some(ended) = self.running.join_next_with_id() => {
                let (name, failure) = self.end(ended);
                first = Some(failure.unwrap_or(Error::TaskEnded { name }));
            }
        }
        if let Some(error) = &first {
            tracing::error!(error = %error, "stopping");
        }
        // Whoever watches the signals learns of a stop that no signal asked for.
        self.shutdown.soft.cancel();
        for stage in Stage::ALL {
            let failure = self.stop(stage).await;
            first = first.or(failure);
        }
        first.map_or(Ok(()), Err)
    }

    async fn stop(&mut self, stage: Stage) -> Option<Error> {
        self.soft[stage as usize].cancel();
        let hard = self.shutdown.hard.clone();
        let limit = tokio::time::sleep(STAGE_LIMIT);
        tokio::pin!(limit);
        let mut first = None;
        while self.named.values().any(|task| task.stage == stage) {
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => {
                    let (_, failure) = self.end(ended);
                    first = first.or(failure);
                }
                () = hard.cancelled() => break,
                () = &mut limit => break,
            }
        }
        for (_, task) in self.named.extract_if(|_, task| task.stage == stage) {
            tracing::warn!(task.name = task.name, "the task did not stop in time and is dropped");
            task.abort.abort();
        }
        first
    }

    /// Strikes a task off; says which one and whether it failed.
    fn end(&mut self, ended: Result<(Id, Outcome), JoinError>) -> (&'static str, Option<Error>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.named.remove(&id).map_or("dropped", |task| task.name);
        let failure = match ended {
            Ok((_, Ok(()))) => None,
            Ok((_, Err(source))) => Some(Error::TaskFailed { name, source }),
            Err(error) => error
                .try_into_panic()
                .ok()
                .map(|panic| Error::TaskPanicked { name, message: message(panic.as_ref()) }),
        };
        (name, failure)
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
