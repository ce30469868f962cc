//! Who asked for steps lately, and with how much room: what is told to those who wait. It decides nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandgate_domain::RunId;
use tokio::time::Instant;

use super::work::Claimer;

/// Who asked for nothing for this long does not serve any more. Longer than any claim waits.
const SILENCE: Duration = Duration::from_secs(25);

/// The runners that are there.
#[derive(Default)]
pub(super) struct Runners {
    heard: Mutex<Vec<(Claimer, Instant)>>,
}

impl Runners {
    /// Somebody asks for steps.
    pub(super) fn heard(&self, claimer: &Claimer) {
        let mut heard = self.lock();
        heard.retain(|(known, at)| {
            at.elapsed() < SILENCE && (known.owner != claimer.owner || known.only != claimer.only)
        });
        heard.push((claimer.clone(), Instant::now()));
    }

    /// Who would take a step of this run: of several the one that asked last.
    pub(super) fn of(&self, run: RunId, is_committed: bool) -> Option<Claimer> {
        let heard = self.lock();
        let mut fitting = heard
            .iter()
            .rev()
            .filter(|(claimer, at)| at.elapsed() < SILENCE && claimer.may_take(run, is_committed));
        fitting.next().map(|(claimer, _)| claimer.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Claimer, Instant)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
