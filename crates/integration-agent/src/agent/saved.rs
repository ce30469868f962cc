//! What is kept of a run between two inputs: everything that a process needs to go on with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandgate_domain::{LayerId, TrustTier};
use sandgate_engine::plan::Plan;
use sandgate_engine::run::RunState;
use serde::{Deserialize, Serialize};

/// Where the files of a run are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSource {
    /// A repository on this machine.
    pub folder: PathBuf,
    /// The commit whose files are tested.
    pub sha: String,
    /// The commit that it would be merged into.
    pub base: Option<String>,
    /// The branch.
    pub branch: Option<String>,
}

/// The progress of a run, stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// The state machine.
    pub state: RunState,
    /// The sealed layers of gates whose files are kept.
    pub layers: BTreeMap<String, LayerId>,
    /// The layers of the environment and the commit that gates stood on last, the lowest first.
    #[serde(default)]
    pub base: Vec<LayerId>,
    /// How many changes there were.
    pub sequence: u64,
    /// How far its author is trusted.
    pub tier: TrustTier,
    /// Where its files are.
    pub source: Option<RunSource>,
    /// Whether its success makes an approved snapshot.
    pub is_whole: bool,
}

impl Saved {
    /// The progress of a run that has not begun.
    pub fn new(
        state: RunState,
        tier: TrustTier,
        source: Option<RunSource>,
        is_whole: bool,
    ) -> Self {
        Self {
            state,
            layers: BTreeMap::new(),
            base: Vec::new(),
            sequence: 0,
            tier,
            source,
            is_whole,
        }
    }

    /// The sealed layers of the gate and of those that it started from, the lowest first.
    pub fn chain(&self, plan: &Plan, gate: Option<&str>) -> Vec<LayerId> {
        let mut chain = Vec::new();
        let mut next = gate.map(str::to_owned);
        while let Some(name) = next {
            chain.extend(self.layers.get(&name));
            let planned = plan.gates.iter().find(|gate| gate.name.as_str() == name);
            next = planned.and_then(|gate| gate.from.as_ref()).map(|from| from.as_str().to_owned());
        }
        chain.reverse();
        chain
    }
}
