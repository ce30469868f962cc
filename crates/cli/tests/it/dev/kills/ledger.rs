//! What was seen once and may not change any more: acknowledged deliveries, results of gates and runs, snapshots.

use std::collections::{BTreeMap, BTreeSet};

use sandgate_testkit::queries;

use crate::world::World;

/// What was seen so far.
#[derive(Default)]
pub struct Ledger {
    acknowledged: BTreeSet<String>,
    /// Ended steps and runs, and made snapshots: what was written about them.
    settled: BTreeMap<String, Vec<String>>,
    /// What went wrong with deliveries, and with results.
    pub lost: Vec<String>,
    pub changed: Vec<String>,
    /// Attempts that were under way when the server was killed.
    pub in_hand: u64,
}

impl Ledger {
    /// The server has answered that it has this delivery.
    pub fn acknowledge(&mut self, id: &str) {
        self.acknowledged.insert(id.to_owned());
    }

    /// How many deliveries were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Looks at the database of a dead server, in a copy, so that it is left to the next start as it is.
    pub fn look(&mut self, world: &World) {
        let answers = world.ask_a_copy(&[
            queries::INTEGRITY,
            queries::FOREIGN_KEYS,
            queries::DELIVERIES,
            queries::SETTLED,
            queries::IN_HAND,
        ]);
        let [integrity, foreign_keys, deliveries, settled, in_hand] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!(*integrity, [["ok"]]);
        assert!(foreign_keys.is_empty(), "{foreign_keys:?}");
        let kept: BTreeSet<&str> = deliveries.iter().map(|row| row[0].as_str()).collect();
        for id in &self.acknowledged {
            if !kept.contains(id.as_str()) {
                self.lost.push(format!("the delivery {id} was acknowledged and is not there"));
            }
        }
        for row in settled {
            let (key, facts) = (row[0].clone(), row[1..].to_vec());
            let before = self.settled.entry(key).or_insert_with(|| facts.clone());
            if *before != facts {
                self.changed.push(format!("{}: {before:?} became {facts:?}", row[0]));
            }
        }
        self.in_hand += in_hand[0][0].parse::<u64>().unwrap();
    }
}
