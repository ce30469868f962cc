//! Steps that become ready go to whoever waits for one, in the transaction that made them ready: one commit for all of them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sandgate_domain::RunId;
use sandgate_store::{Retry, Transaction};
use tokio::sync::oneshot;

use super::Inner;
use super::advance::Aftermath;
use super::assignment::Assignment;
use super::work::Claimer;
use crate::error::Error;

/// Whoever waits for a step, the longest first.
#[derive(Default)]
pub(super) struct Waiting {
    queue: Mutex<VecDeque<Waiter>>,
}

struct Waiter {
    claimer: Claimer,
    reply: oneshot::Sender<Vec<Assignment>>,
}

impl Waiting {
    /// Waits for a step. Whoever drops the receiver waits no more.
    pub(super) fn join(&self, claimer: &Claimer) -> oneshot::Receiver<Vec<Assignment>> {
        let (reply, receiver) = oneshot::channel();
        let mut queue = self.lock();
        queue.retain(|waiter| !waiter.reply.is_closed());
        queue.push_back(Waiter { claimer: claimer.clone(), reply });
        receiver
    }

    fn take(&self) -> VecDeque<Waiter> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Commits what was changed of a run, gives what became ready to those who wait, and tells whoever else is concerned.
    pub(super) async fn commit(
        &self,
        transaction: Transaction,
        run: RunId,
        after: &Aftermath,
    ) -> Result<(), Error> {
        let mut matched = Vec::new();
        if after.has_work {
            self.match_waiting(&transaction, &mut matched).await;
        }
        // If this fails, the receivers hear of it, and ask again.
        transaction.commit().await?;
        sandgate_domain::fail_point::reached("run.advanced");
        self.tell_all(run, after);
        for (reply, assignments) in matched {
            if let Err(assignments) = reply.send(self.all_handed_out(assignments)) {
                for assignment in assignments {
                    self.give_back(&assignment).await;
                }
            }
        }
        // Behind the replies: who is woken by this looks for what is left.
        self.wake(after);
        Ok(())
    }

    async fn match_waiting(
        &self,
        transaction: &Transaction,
        matched: &mut Vec<(oneshot::Sender<Vec<Assignment>>, Vec<Assignment>)>,
    ) {
        let mut left = VecDeque::new();
        // Who claims with the same words gets the same answer.
        let mut nothing_for = HashSet::new();
        for waiter in self.waiting.take() {
            if waiter.reply.is_closed() {
                continue;
            }
            let key = (waiter.claimer.owner.clone(), waiter.claimer.only);
            let found = if nothing_for.contains(&key) {
                Vec::new()
            } else {
                self.take_along(transaction, &waiter.claimer).await
            };
            if found.is_empty() {
                nothing_for.insert(key);
                left.push_back(waiter);
            } else {
                matched.push((waiter.reply, found));
            }
        }
        let mut queue = self.waiting.lock();
        left.append(&mut queue);
        *queue = left;
    }

    /// Steps in a transaction whose own matter does not depend on there being any.
    pub(super) async fn take_along(
        &self,
        transaction: &Transaction,
        claimer: &Claimer,
    ) -> Vec<Assignment> {
        let mut taken = Vec::new();
        if let Err(error) = self.take(transaction, claimer, &mut taken).await {
            tracing::error!(error = error.chain(), "no step was claimed along with a change");
        }
        taken
    }

    /// Whoever waited has gone: somebody else may have the step.
    async fn give_back(&self, assignment: &Assignment) {
        let steps = self.parts.store.steps(&self.parts.tenant);
        if let Err(error) = steps.release(assignment.step, assignment.fence, Retry::Gate).await {
            tracing::warn!(step.id = %assignment.step, %error, "a step that nobody took waits for the end of its lease");
        }
    }
}
