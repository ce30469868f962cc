//! The one writer: takes all operations that wait, and commits them together.

use std::sync::Arc;

use sandgate_domain::Clock;
use sandgate_store::{EventLog, Operation, Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// Operations in one commit at most.
const BATCH: usize = 256;
/// Operations that may wait; who comes then, waits for a place.
const QUEUE: usize = 1024;

/// Hands operations to the writer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
}

struct Request {
    operation: Operation,
    answer: oneshot::Sender<Result<Outcome, Error>>,
}

impl Writer {
    /// Starts the task that writes; it ends when all handles are gone and the queue is empty.
    pub(super) fn start(log: EventLog, clock: Arc<dyn Clock>) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tokio::spawn(write(log, clock, requests));
        Self { queue }
    }

    /// Applies an operation; returns when it is committed. An operation whose caller went away may be applied or not.
    pub(super) async fn apply(&self, operation: Operation) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        let request = Request { operation, answer };
        self.queue.send(request).await.map_err(|_| Error::Closed)?;
        outcome.await.map_err(|_| Error::Closed)?
    }
}

async fn write(log: EventLog, clock: Arc<dyn Clock>, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (operations, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|request| (request.operation, request.answer)).unzip();
        let outcomes = commit(&log, clock.as_ref(), operations).await;
        sandgate_domain::fail_point::reached("bus.committed");
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may have gone away; what was committed stays.
            drop(answer.send(outcome));
        }
    }
}

/// All in one commit. If that fails, each for itself, so that one bad operation does not fail its neighbours.
async fn commit(
    log: &EventLog,
    clock: &dyn Clock,
    operations: Vec<Operation>,
) -> Vec<Result<Outcome, Error>> {
    match log.apply(&operations, clock.now()).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if operations.len() == 1 => vec![Err(error.into())],
        Err(_) => {
            let mut outcomes = Vec::with_capacity(operations.len());
            for operation in operations {
                let alone = log.apply(&[operation], clock.now()).await;
                outcomes.push(
                    alone
                        .map_err(Error::from)
                        .and_then(|mut outcomes| outcomes.pop().ok_or(Error::Closed)),
                );
            }
            outcomes
        }
    }
}
