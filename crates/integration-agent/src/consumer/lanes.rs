//! The events in hand: one lane for each pull request, in which one event after the other is handled.

use std::collections::{HashSet, VecDeque};

use sandgate_bus::Delivery;

/// The events in hand.
#[derive(Default)]
pub(super) struct Lanes {
    /// In the order in which they came.
    waiting: VecDeque<(String, Delivery)>,
    working: Vec<(String, Delivery)>,
}

impl Lanes {
    /// Takes an event in hand.
    pub(super) fn take(&mut self, delivery: Delivery) {
        self.waiting.push_back((key_of(&delivery), delivery));
    }

    /// How many events are in hand.
    pub(super) fn held(&self) -> usize {
        self.waiting.len() + self.working.len()
    }

    /// The next event whose lane is free, and its lane.
    pub(super) fn start(&mut self) -> Option<(String, Delivery)> {
        let busy: HashSet<&str> = self.working.iter().map(|(key, _)| key.as_str()).collect();
        let place = self.waiting.iter().position(|(key, _)| !busy.contains(key.as_str()))?;
        let next = self.waiting.remove(place)?;
        self.working.push(next.clone());
        Some(next)
    }

    /// The event that was worked on in a lane is done with.
    pub(super) fn end(&mut self, key: Option<String>) {
        if let Some(key) = key {
            self.working.retain(|(busy, _)| *busy != key);
        }
    }

    /// Everything in hand.
    pub(super) fn all(&self) -> Vec<Delivery> {
        self.waiting.iter().chain(&self.working).map(|(_, delivery)| delivery.clone()).collect()
    }

    /// An event is in other hands. If it is being worked on, that goes on, as doing it twice changes nothing.
    pub(super) fn forget(&mut self, delivery: &Delivery) {
        self.waiting.retain(|(_, waiting)| waiting.seq != delivery.seq);
    }
}

/// What the event is about; of one that can't be read, itself.
fn key_of(delivery: &Delivery) -> String {
    let event = delivery.message.event();
    event.map_or_else(|_| delivery.message.id.clone(), |event| event.subject)
}
