//! What gates say about each other: names that must exist, and waiting that must end.

use std::collections::{HashMap, HashSet};

use super::Gate;
use super::error::{Finding, Problem};
use super::reader::Reference;
use super::source::printable;
use crate::name::nearest;

/// How many gates of a circle are named.
const SHOWN: usize = 12;

/// Everything wrong between gates.
pub(super) fn check(gates: &[Gate], references: &[Reference]) -> Vec<Finding> {
    let unknown = unknown_targets(gates, references);
    if !unknown.is_empty() {
        return unknown;
    }
    cycles(gates, references)
}

fn unknown_targets(gates: &[Gate], references: &[Reference]) -> Vec<Finding> {
    let names: HashSet<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
    let is_unknown = |reference: &&Reference| !names.contains(reference.target.as_str());
    let finding = |reference: &Reference| {
        let target = printable(&reference.target, 80);
        let message = match &reference.gate {
            Some(gate) => {
                format!("`{}` of gate `{gate}` names `{target}`, which is no gate", reference.key)
            }
            None => format!("`{}` names `{target}`, which is no gate", reference.key),
        };
        let in_order = gates.iter().map(|gate| gate.name.as_str());
        let help = match nearest(&reference.target, in_order.clone()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let shown: Vec<String> =
                    in_order.take(20).map(|name| format!("`{name}`")).collect();
                format!("the gates are {}", shown.join(", "))
            }
        };
        Finding::new(Problem::UnknownGate, reference.position, message).help(help)
    };
    references.iter().filter(is_unknown).map(finding).collect()
}

/// One finding for each group of gates that wait for each other, at the mention that closes the circle.
fn cycles(gates: &[Gate], references: &[Reference]) -> Vec<Finding> {
    let mut edges: HashMap<&str, Vec<&Reference>> = HashMap::new();
    for reference in references {
        if let Some(gate) = &reference.gate {
            edges.entry(gate.as_str()).or_default().push(reference);
        }
    }
    let mut finished: HashSet<&str> = HashSet::new();
    let mut findings = Vec::new();
    for gate in gates {
        let mut path: Vec<(&str, usize)> = vec![(gate.name.as_str(), 0)];
        while let Some((name, next)) = path.last_mut() {
            if finished.contains(name) {
                path.pop();
                continue;
            }
            let Some(reference) = edges.get(name).and_then(|list| list.get(*next)) else {
                finished.insert(name);
                path.pop();
                continue;
            };
            *next += 1;
            let target = reference.target.as_str();
            match path.iter().position(|(on_path, _)| *on_path == target) {
                Some(start) => findings.push(circle(&path[start..], reference)),
                None => path.push((target, 0)),
            }
        }
    }
    findings
}

fn circle(path: &[(&str, usize)], closing: &Reference) -> Finding {
    let mut names: Vec<String> =
        path.iter().take(SHOWN).map(|(name, _)| (*name).to_owned()).collect();
    if path.len() > SHOWN {
        names.push(format!("… {} more", path.len() - SHOWN));
    }
    names.push(closing.target.clone());
    let message = if path.len() == 1 {
        format!("gate `{}` waits for itself", closing.target)
    } else {
        format!("gates wait for each other: {}", names.join(" -> "))
    };
    Finding::new(Problem::Cycle, closing.position, message)
        .help("remove one of the `needs` or `from` on the way")
}
