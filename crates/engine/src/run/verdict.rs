//! The result of a run from the records of its gates.

use std::collections::HashMap;

use sandgate_domain::GateResult;

use super::{Cause, RunState};
use crate::name::GateName;

/// Cancellation over error over timeout over failure, over the rest.
fn severity(result: GateResult) -> u8 {
    match result {
        GateResult::Cancellation => 4,
        GateResult::Error => 3,
        GateResult::Timeout => 2,
        GateResult::Failure => 1,
        GateResult::Success | GateResult::Skip => 0,
    }
}

fn worse(left: GateResult, right: GateResult) -> GateResult {
    if severity(right) > severity(left) { right } else { left }
}

/// The result once every gate has its record.
///
/// Blocking gates count, each with what caused its result. Nothing but skips is a skip; in particular a run without any
/// blocking gate that ran is never a success.
pub(super) fn verdict(state: &RunState) -> GateResult {
    if state.cancelled.is_some() {
        return GateResult::Cancellation;
    }
    let setup = state.setup.as_ref().and_then(|setup| setup.record.as_ref());
    if let Some(setup) = setup.filter(|record| record.result != GateResult::Success) {
        return setup.result;
    }
    let counted = contributions(state);
    let blocking = || {
        let gates = state.gates.iter().filter(|gate| gate.blocking);
        gates.filter_map(|gate| counted.get(&gate.name).copied())
    };
    let worst = blocking().fold(GateResult::Skip, worse);
    let has_success = blocking().any(|result| result == GateResult::Success);
    if worst == GateResult::Skip && has_success { GateResult::Success } else { worst }
}

/// What each gate counts with: its own result, or that of its cause.
fn contributions(state: &RunState) -> HashMap<&GateName, GateResult> {
    let mut counted: HashMap<&GateName, GateResult> = HashMap::new();
    // The order of the plan: needs come before those that need them.
    for gate in &state.gates {
        let Some(record) = gate.record() else { continue };
        let result = match &record.cause {
            Cause::Own | Cause::Filtered | Cause::Setup => record.result,
            Cause::Cancelled => GateResult::Cancellation,
            Cause::Needs { .. } => {
                let needs = gate.needs.iter().filter_map(|need| counted.get(need).copied());
                needs.fold(GateResult::Skip, worse)
            }
            // Whoever stops others ended by its own doing.
            Cause::FailFast { gate: other } => state
                .gate(other)
                .and_then(|other| other.record())
                .map_or(GateResult::Error, |record| record.result),
        };
        counted.insert(&gate.name, result);
    }
    counted
}
