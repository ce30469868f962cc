//! What went through the proxy, and what did not and why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// How many different incidents are kept; further ones are only counted.
const INCIDENTS: usize = 64;

/// Counts since the proxy started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Clients that were accepted.
    pub connections: u64,
    /// Bytes sent to the outside, heads of plain HTTP included.
    pub bytes_up: u64,
    /// Bytes received from the outside.
    pub bytes_down: u64,
    /// Requests that the policy refused.
    pub refused: u64,
    /// Requests that failed for another reason: names that do not resolve, servers that do not answer.
    pub failed: u64,
}

/// Something that a gate may have failed on, to be shown beside its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// One line that names the target and the reason.
    pub text: String,
    /// Whether the policy refused it; otherwise the outside failed.
    pub refused: bool,
    /// How often it happened.
    pub times: u64,
}

/// The counters behind [`Usage`] and the list of incidents.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    connections: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    incidents: Mutex<Vec<Incident>>,
}

impl Ledger {
    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_up(&self, bytes: u64) {
        self.bytes_up.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_down(&self, bytes: u64) {
        self.bytes_down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Keeps the error for whoever asks why a gate failed.
    pub(crate) fn record(&self, error: &Error, text: &str) {
        let refused = matches!(error, Error::Refused { .. });
        let counter = if refused { &self.refused } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut incidents = self.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = incidents.iter_mut().find(|known| known.text == text) {
            known.times += 1;
        } else if incidents.len() < INCIDENTS {
            incidents.push(Incident { text: text.to_owned(), refused, times: 1 });
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            connections: self.connections.load(Ordering::Relaxed),
            bytes_up: self.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.bytes_down.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Refusal;

    #[test]
    fn incidents_are_merged_and_bounded_while_counts_go_on() {
        let ledger = Ledger::default();
        for number in 0..200 {
            let target = format!("10.0.0.{}:443", number % 100);
            let error = Error::Refused { target, reason: Refusal::Private };
            ledger.record(&error, &error.full_text());
        }
        let incidents = ledger.incidents();
        assert_eq!(incidents.len(), INCIDENTS);
        assert!(incidents.iter().all(|incident| incident.times == 2 && incident.refused));
        assert_eq!(ledger.usage().refused, 200);
    }
}
