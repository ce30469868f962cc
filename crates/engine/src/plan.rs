//! From a configuration and a change to the gates that run, in order, with everything resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sandgate_domain::{ErrorCode, Resources};
use serde::{Deserialize, Serialize};

use crate::config::{Config, FailFast, Gate, Image, Limits, Network, Retry};
use crate::name::{GateName, nearest};

mod filter;
mod milliseconds;
mod order;

/// How long a gate may take if the file says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How often a fault of ours is made up for if the file says nothing.
const DEFAULT_INFRA_RETRIES: u32 = 2;
/// How long the files of a failed gate are kept.
const DEFAULT_DEBUG_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is known about the change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanInput {
    /// The gates asked for by name; they run whatever their `when` says, and so does what they start from. Empty: all.
    pub only: Vec<GateName>,
    /// The branch that the change goes to. None, unknown: no gate is filtered by it.
    pub base_branch: Option<String>,
    /// The changed files, relative to the root, `/` between parts. None or empty, unknown: no gate is filtered by them.
    pub changed_paths: Option<Vec<String>>,
}

/// Everything that a run needs to know, stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What the sandboxes are made of.
    pub environment: PlannedEnvironment,
    /// All gates in the order of their needs, and in the order of the file where needs leave it open.
    pub gates: Vec<PlannedGate>,
    /// Whether the first gate that does not pass stops the others.
    pub fail_fast: FailFast,
    /// The gate whose files are kept in the approved snapshot.
    pub approve_from: Option<GateName>,
    /// Whether a newer head cancels this run.
    pub cancel_on_push: bool,
}

/// What the sandboxes of a run are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedEnvironment {
    /// Where the tools come from.
    pub image: Image,
    /// Variables of the setup; those of gates are in the gates.
    pub env: BTreeMap<String, String>,
    /// What is installed once.
    pub setup: Option<PlannedSetup>,
}

/// What is installed once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSetup {
    /// Shell scripts.
    pub run: Vec<String>,
    /// Globs of the files that it sees.
    pub inputs: Vec<String>,
    /// Globs of files that exist for it, empty.
    pub placeholders: Vec<String>,
    /// What it reaches.
    pub network: Network,
    /// How long it may take: the `timeout` of the defaults.
    #[serde(rename = "timeoutMs", with = "milliseconds")]
    pub timeout: Duration,
    /// What it may use at most: the `resources` of the defaults.
    pub resources: Resources,
    /// How often it is tried again after a fault of ours.
    pub infra_retries: u32,
}

/// One gate with everything resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedGate {
    /// Its name.
    pub name: GateName,
    /// Why it does not run; none: it does.
    pub filtered: Option<Filtered>,
    /// Shell scripts.
    pub run: Vec<String>,
    /// The folder to run in, relative to the root.
    pub dir: Option<String>,
    /// The gates that must pass before, `from` included, each once.
    pub needs: Vec<GateName>,
    /// The gate in whose files it starts.
    pub from: Option<GateName>,
    /// How long it may take.
    #[serde(rename = "timeoutMs", with = "milliseconds")]
    pub timeout: Duration,
    /// Whether it decides.
    pub blocking: bool,
    /// What it reaches.
    pub network: Network,
    /// Globs of JUnit files.
    pub junit: Vec<String>,
    /// How long its debug snapshot is kept; none: as long as there is room.
    #[serde(rename = "debugKeepMs", with = "milliseconds::optional")]
    pub debug_keep: Option<Duration>,
    /// What it may use at most.
    pub resources: Resources,
    /// Variables: those of the environment under its own.
    pub env: BTreeMap<String, String>,
    /// How often it is tried again after a fault of ours.
    pub infra_retries: u32,
    /// How often it is tried again after a failure or timeout of its own.
    pub gate_retries: u32,
}

/// Why a gate has no reason to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "why")]
pub enum Filtered {
    /// Others were asked for by name.
    NotAskedFor,
    /// The change goes to another branch.
    Base {
        /// The branch that it goes to.
        branch: String,
    },
    /// No changed file matches.
    Paths,
}

impl fmt::Display for Filtered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAskedFor => formatter.write_str("not asked for"),
            Self::Base { branch } => write!(
                formatter,
                "the change goes to `{}`, which `when.base` does not name",
                crate::config::printable(branch, 100)
            ),
            Self::Paths => {
                formatter.write_str("no changed file matches `when.paths` and `when.paths_ignore`")
            }
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A gate was asked for that the file does not have.
    #[error("there is no gate `{name}`; {}", suggest(.suggestion.as_ref(), .known))]
    UnknownGate {
        /// What was asked for.
        name: GateName,
        /// The nearest gate, if one is near.
        suggestion: Option<GateName>,
        /// All gates, in the order of the file.
        known: Vec<GateName>,
    },
    /// A glob that [`crate::config::parse`] would have refused.
    #[error("`{glob}` of gate `{gate}` {why}")]
    Glob {
        /// The gate.
        gate: GateName,
        /// The glob.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
    /// A need or a circle that [`crate::config::parse`] would have refused.
    #[error("the needs of gate `{gate}` can't be put in order")]
    Order {
        /// The first gate left over.
        gate: GateName,
    },
}

impl PlanError {
    /// The general code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownGate { .. } => ErrorCode::NotFound,
            Self::Glob { .. } | Self::Order { .. } => ErrorCode::InvalidArgument,
        }
    }
}

fn suggest(suggestion: Option<&GateName>, known: &[GateName]) -> String {
    match suggestion {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<String> =
                known.iter().take(20).map(|name| format!("`{name}`")).collect();
            format!("the gates are {}", names.join(", "))
        }
    }
}

/// Decides which gates run, in which order, and with what.
///
/// # Errors
/// A name that is no gate; or a configuration that [`crate::config::parse`] did not make.
pub fn plan(config: &Config, input: &PlanInput) -> Result<Plan, PlanError> {
    for name in &input.only {
        known_gate(config, name)?;
    }
    let order = order::topological(&config.gates)?;
    let mut filtered = filter::filter(config, &order, input)?;
    let gates = order
        .iter()
        .map(|index| resolve(config, &config.gates[*index], filtered[*index].take()))
        .collect();
    let defaults = &config.defaults;
    let setup = config.environment.setup.as_ref().map(|setup| PlannedSetup {
        run: setup.run.clone(),
        inputs: setup.inputs.clone(),
        placeholders: setup.placeholders.clone(),
        network: setup.network.or(defaults.network).unwrap_or_default(),
        timeout: defaults.timeout.unwrap_or(DEFAULT_TIMEOUT),
        resources: resources(&[&defaults.resources]),
        infra_retries: defaults.retry.infra.unwrap_or(DEFAULT_INFRA_RETRIES),
    });
    Ok(Plan {
        environment: PlannedEnvironment {
            image: config.environment.image,
            env: config.environment.env.clone(),
            setup,
        },
        gates,
        fail_fast: config.fail_fast,
        approve_from: config.approve_from.clone(),
        cancel_on_push: config.cancel.on_push,
    })
}

fn known_gate(config: &Config, name: &GateName) -> Result<(), PlanError> {
    let names = || config.gates.iter().map(|gate| &gate.name);
    if names().any(|known| known == name) {
        return Ok(());
    }
    let near = nearest(name.as_str(), names().map(GateName::as_str));
    let suggestion = names().find(|known| Some(known.as_str()) == near).cloned();
    Err(PlanError::UnknownGate {
        name: name.clone(),
        suggestion,
        known: names().cloned().collect(),
    })
}

fn resolve(config: &Config, gate: &Gate, filtered: Option<Filtered>) -> PlannedGate {
    let defaults = &config.defaults;
    let retry = |times: fn(&Retry) -> Option<u32>, last: u32| {
        times(&gate.retry).or(times(&defaults.retry)).unwrap_or(last)
    };
    let mut env = config.environment.env.clone();
    env.extend(gate.env.clone());
    PlannedGate {
        name: gate.name.clone(),
        filtered,
        run: gate.run.clone(),
        dir: gate.dir.clone(),
        needs: order::needs(gate),
        from: gate.from.clone(),
        timeout: gate.timeout.or(defaults.timeout).unwrap_or(DEFAULT_TIMEOUT),
        blocking: gate.blocking,
        network: gate.network.or(defaults.network).unwrap_or_default(),
        junit: gate.reports.junit.clone(),
        debug_keep: Some(gate.debug.keep.unwrap_or(DEFAULT_DEBUG_KEEP)),
        resources: resources(&[&gate.resources, &defaults.resources]),
        env,
        infra_retries: retry(|retry| retry.infra, DEFAULT_INFRA_RETRIES),
        gate_retries: retry(|retry| retry.gate, 0),
    }
}

/// The first answer for each limit, then ours.
fn resources(limits: &[&Limits]) -> Resources {
    let ours = Resources::default();
    Resources {
        cpu_millis: limits.iter().find_map(|l| l.cpu_millis).unwrap_or(ours.cpu_millis),
        memory_bytes: limits.iter().find_map(|l| l.memory_bytes).unwrap_or(ours.memory_bytes),
        disk_bytes: limits.iter().find_map(|l| l.disk_bytes).unwrap_or(ours.disk_bytes),
        disk_inodes: ours.disk_inodes,
        pids: limits.iter().find_map(|l| l.pids).unwrap_or(ours.pids),
    }
}

#[cfg(test)]
mod tests;
