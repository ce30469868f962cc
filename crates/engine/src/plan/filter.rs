//! Which gates have a reason to run.

use globset::{GlobSet, GlobSetBuilder};

use super::{Filtered, PlanError, PlanInput, order};
use crate::config::{Config, FILE_NAME, Gate, values};
use crate::name::GateName;

/// For each gate of the file, why it does not run. `order` is a topological order of indexes.
pub(super) fn filter(
    config: &Config,
    order: &[usize],
    input: &PlanInput,
) -> Result<Vec<Option<Filtered>>, PlanError> {
    let changed = input
        .changed_paths
        .as_deref()
        .filter(|paths| !paths.is_empty() && !paths.iter().any(|path| path == FILE_NAME));
    let wanted = wanted(config, order, &input.only);
    let mut filtered = Vec::with_capacity(config.gates.len());
    for (gate, wanted) in config.gates.iter().zip(wanted) {
        filtered.push(match wanted {
            Wanted::No => Some(Filtered::NotAskedFor),
            Wanted::ByName => None,
            Wanted::Maybe => reason(gate, input.base_branch.as_deref(), changed)?,
        });
    }
    // Dependants first, so that a chain of `from` is followed to its begin.
    for index in order.iter().rev() {
        if filtered[*index].is_some() {
            continue;
        }
        let from = config.gates[*index].from.as_ref();
        if let Some(start) = config.gates.iter().position(|gate| Some(&gate.name) == from) {
            filtered[start] = None;
        }
    }
    Ok(filtered)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    No,
    Maybe,
    ByName,
}

fn wanted(config: &Config, order: &[usize], only: &[GateName]) -> Vec<Wanted> {
    if only.is_empty() {
        return vec![Wanted::Maybe; config.gates.len()];
    }
    let by_name = |gate: &Gate| if only.contains(&gate.name) { Wanted::ByName } else { Wanted::No };
    let mut wanted: Vec<Wanted> = config.gates.iter().map(by_name).collect();
    for index in order.iter().rev() {
        if wanted[*index] == Wanted::No {
            continue;
        }
        for need in order::needs(&config.gates[*index]) {
            let needed = config.gates.iter().position(|gate| gate.name == need);
            if let Some(other) = needed.filter(|other| wanted[*other] == Wanted::No) {
                wanted[other] = Wanted::Maybe;
            }
        }
    }
    wanted
}

fn reason(
    gate: &Gate,
    base: Option<&str>,
    changed: Option<&[String]>,
) -> Result<Option<Filtered>, PlanError> {
    let when = &gate.when;
    if let Some(branch) = base
        && !when.base.is_empty()
        && !set(gate, &when.base)?.is_match(branch)
    {
        return Ok(Some(Filtered::Base { branch: branch.to_owned() }));
    }
    let Some(changed) = changed else { return Ok(None) };
    if when.paths.is_empty() && when.paths_ignore.is_empty() {
        return Ok(None);
    }
    let paths = set(gate, &when.paths)?;
    let ignored = set(gate, &when.paths_ignore)?;
    let counts =
        |path: &String| !ignored.is_match(path) && (when.paths.is_empty() || paths.is_match(path));
    Ok(if changed.iter().any(counts) { None } else { Some(Filtered::Paths) })
}

fn set(gate: &Gate, globs: &[String]) -> Result<GlobSet, PlanError> {
    let refused = |glob: &str, why: String| PlanError::Glob {
        gate: gate.name.clone(),
        glob: glob.to_owned(),
        why,
    };
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(values::glob(glob).map_err(|why| refused(glob, why))?);
    }
    builder.build().map_err(|error| {
        let glob = error.glob().unwrap_or_default();
        refused(glob, format!("can't be read: {}", error.kind()))
    })
}
