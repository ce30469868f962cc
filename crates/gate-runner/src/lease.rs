//! The hold on a step: its token, renewed while the step is worked on, and the orders that come with a renewal.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandgate_domain::Timestamp;
use sandgate_wire::agent::v1::RenewRequest;
use sandgate_wire::token::with_step_token;
use tokio::sync::watch;
use tonic::Status;

use crate::assignment::Assignment;
use crate::error::may_pass;
use crate::runner::Runner;

/// How long one call waits for an order to stop, in milliseconds.
const WAIT_MS: u32 = 10_000;
/// How long to wait after the agent could not be asked.
const BACKOFF: Duration = Duration::from_millis(500);
/// How long the news that commands run waits: those that end sooner tell it with their result.
const NEWS: Duration = Duration::from_millis(50);

/// The hold on a step.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Mutex<Held>,
    started_at: watch::Sender<Option<Timestamp>>,
}

#[derive(Debug)]
struct Held {
    token: String,
    until: Timestamp,
    /// Somebody else has the step, or nobody renewed the lease in time.
    is_lost: bool,
    /// Whether the agent wants the step to stop.
    is_unwanted: bool,
}

impl Lease {
    pub(crate) fn new(token: String, until: Timestamp) -> Self {
        let held = Held { token, until, is_lost: false, is_unwanted: false };
        Self { held: Mutex::new(held), started_at: watch::channel(None).0 }
    }

    /// The token as it is now. It changes with each renewal: ask for it with each call.
    pub(crate) fn token(&self) -> String {
        self.lock().token.clone()
    }

    /// Until when the step is ours.
    pub(crate) fn until(&self) -> Timestamp {
        self.lock().until
    }

    /// Whether the step is not ours any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    /// Whether the agent wants the step to stop.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.lock().is_unwanted
    }

    /// The first instruction of the step's commands ran.
    pub(crate) fn started(&self, at: Timestamp) {
        self.started_at.send_replace(Some(at));
    }

    /// The step is not ours any more.
    pub(crate) fn lose(&self) {
        self.lock().is_lost = true;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// Holds a step until the future is dropped, and cancels the work when it is not wanted any more.
    pub(crate) async fn hold(&self, assignment: &Assignment) {
        let lease = &assignment.lease;
        let mut started = lease.started_at.subscribe();
        let mut told = false;
        loop {
            let started_at = (*started.borrow_and_update()).filter(|_| !told);
            let renewing = self.renew(assignment, started_at);
            let renewed = tokio::select! {
                renewed = renewing => renewed,
                _changed = started.changed(), if !told && started_at.is_none() => {
                    tokio::time::sleep(NEWS).await;
                    continue;
                }
            };
            match renewed {
                Ok(()) => told |= started_at.is_some(),
                Err(status) if may_pass(&status) && self.parts.clock.now() < lease.until() => {
                    tracing::warn!(step.id = %assignment.step, status = status.message(), "a lease was not renewed");
                    tokio::time::sleep(BACKOFF).await;
                }
                Err(status) => {
                    tracing::warn!(step.id = %assignment.step, status = status.message(), "a step is not ours any more");
                    lease.lose();
                    assignment.cancelled.cancel();
                    return std::future::pending().await;
                }
            }
            if lease.is_unwanted() {
                // Nothing more can be ordered; what is left is to hold it until it has stopped.
                tokio::time::sleep(Duration::from_millis(u64::from(WAIT_MS))).await;
            }
        }
    }

    async fn renew(
        &self,
        assignment: &Assignment,
        started_at: Option<Timestamp>,
    ) -> Result<(), Status> {
        let wait_ms = if started_at.is_some() { 0 } else { WAIT_MS };
        let started_at = started_at.map(Timestamp::as_micros);
        let message = RenewRequest { wait_ms, started_at };
        let request = with_step_token(message, &assignment.lease.token());
        let reply = self.parts.agent.clone().renew(request).await?.into_inner();
        let is_unwanted = reply.stop.is_some();
        {
            let mut held = assignment.lease.lock();
            held.token = reply.token;
            held.until = Timestamp::from_micros(reply.lease_until);
            held.is_unwanted |= is_unwanted;
        }
        if is_unwanted {
            assignment.cancelled.cancel();
        }
        Ok(())
    }
}
