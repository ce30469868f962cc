//! The order of gates: needs first, and otherwise as in the file.

use std::collections::HashMap;

use super::PlanError;
use crate::config::Gate;
use crate::name::GateName;

/// What a gate waits for: `needs` and `from`, each once.
pub(super) fn needs(gate: &Gate) -> Vec<GateName> {
    let mut needs: Vec<GateName> = Vec::with_capacity(gate.needs.len() + 1);
    for name in gate.needs.iter().chain(&gate.from) {
        if !needs.contains(name) {
            needs.push(name.clone());
        }
    }
    needs
}

/// Indexes into `gates`: always the first gate in the file whose needs are all placed.
pub(super) fn topological(gates: &[Gate]) -> Result<Vec<usize>, PlanError> {
    let indexes: HashMap<&GateName, usize> =
        gates.iter().enumerate().map(|(index, gate)| (&gate.name, index)).collect();
    let needs: Vec<Vec<GateName>> = gates.iter().map(needs).collect();
    let mut order = Vec::with_capacity(gates.len());
    let mut placed = vec![false; gates.len()];
    while order.len() < gates.len() {
        let is_ready = |index: &usize| {
            let is_placed = |need| indexes.get(need).is_some_and(|other: &usize| placed[*other]);
            !placed[*index] && needs[*index].iter().all(is_placed)
        };
        let Some(next) = (0..gates.len()).find(is_ready) else {
            let left = placed.iter().position(|placed| !placed).unwrap_or_default();
            return Err(PlanError::Order { gate: gates[left].name.clone() });
        };
        placed[next] = true;
        order.push(next);
    }
    Ok(order)
}
