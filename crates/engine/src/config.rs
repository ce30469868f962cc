//! `.sandgate.yaml`: what a repository asks for, checked but not yet resolved.
//!
//! [`parse`] reads the text and reports everything that is wrong with file, line and column. Defaults, filters and order are
//! the business of [`crate::plan`].

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::GateName;

mod error;
mod gates;
mod reader;
mod references;
mod schema;
mod sections;
mod source;
mod tree;
pub(crate) mod values;

pub use error::{ConfigError, ConfigErrors, Problem};
pub use schema::schema;
pub use sections::UnsupportedKey;
pub use source::Position;
pub(crate) use source::printable;
pub use tree::MAX_BYTES;

/// The name of the file, at the root of a repository.
pub const FILE_NAME: &str = ".sandgate.yaml";
/// The most gates that a file may have.
pub const MAX_GATES: usize = 200;

/// What a readable file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The part that is built.
    pub config: Config,
    /// Known keys that ask for something that is not built, in the order of the file.
    pub unsupported: Vec<UnsupportedKey>,
}

/// Reads the text of a configuration file. `file_name` is only for messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(source: &str, file_name: &str) -> Result<Parsed, ConfigErrors> {
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let root = tree::read(text).map_err(|findings| error::in_file(findings, file_name, text))?;
    let mut reader = reader::Reader::new(file_name);
    let config = reader.config(&root);
    let (findings, unsupported) = reader.finish();
    match config {
        Some(config) if findings.is_empty() => Ok(Parsed { config, unsupported }),
        _ => Err(error::in_file(findings, file_name, text)),
    }
}

/// The quality gates of a repository.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, title = ".sandgate.yaml")]
pub struct Config {
    /// The version of this format.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// What the sandboxes of all gates are made of.
    #[schemars(with = "Option<Environment>")]
    pub environment: Environment,
    /// What holds for every gate that does not say otherwise.
    #[schemars(with = "Option<Defaults>")]
    pub defaults: Defaults,
    /// The gates by name, in the order of the file. The names are the names of the checks.
    #[schemars(with = "schema::Gates")]
    pub gates: Vec<Gate>,
    /// Whether the first gate that does not pass stops the others. Default: `blocking`.
    #[schemars(with = "Option<FailFast>")]
    pub fail_fast: FailFast,
    /// The gate whose files are kept in the approved snapshot; null: environment and commit only.
    #[schemars(with = "Option<schema::GateReference>")]
    pub approve_from: Option<GateName>,
    /// When runs are cancelled.
    #[schemars(with = "Option<Cancel>")]
    pub cancel: Cancel,
}

/// What the sandboxes of all gates are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Environment {
    /// Where the tools come from. `host`: the tools of the machine, read-only. Default: `host`.
    #[schemars(with = "Option<schema::AnyImage>")]
    pub image: Image,
    /// What is installed once and then kept as a layer.
    pub setup: Option<Setup>,
    /// Variables of every gate and of the setup.
    #[schemars(with = "Option<schema::Variables>")]
    pub env: BTreeMap<String, String>,
}

/// Where the tools of a sandbox come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// The tools of the machine, read-only.
    #[default]
    Host,
}

/// What is installed once for the same inputs; it sees its inputs and nothing else of the repository.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Setup {
    /// Shell scripts, one after the other, stopping at the first failure.
    #[schemars(with = "schema::Scripts")]
    pub run: Vec<String>,
    /// Globs of the files that it sees. They decide when it runs again.
    #[schemars(with = "Option<schema::Globs>")]
    pub inputs: Vec<String>,
    /// Globs of files that exist for it, empty: a Cargo workspace needs `**/src/lib.rs` and `**/src/main.rs`.
    #[schemars(with = "Option<schema::Globs>")]
    pub placeholders: Vec<String>,
    /// What it reaches. Default: as `defaults.network`.
    #[schemars(with = "Option<schema::AnyNetwork>")]
    pub network: Option<Network>,
}

/// What a sandbox reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Its own loopback.
    #[default]
    None,
    /// The internet, through the proxy.
    Full,
}

/// What holds for every gate that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Defaults {
    /// How long a gate may take, such as `90s`, `15m`, `1h30m`; at most `24h`. Default: `15m`.
    #[schemars(with = "Option<schema::DurationText>")]
    pub timeout: Option<Duration>,
    /// What a gate reaches. Default: `none`.
    #[schemars(with = "Option<schema::AnyNetwork>")]
    pub network: Option<Network>,
    /// How often a gate is tried again.
    #[schemars(with = "Option<Retry>")]
    pub retry: Retry,
    /// What a gate may use at most.
    #[schemars(with = "Option<Limits>")]
    pub resources: Limits,
}

/// How often a gate is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retry {
    /// After a fault of ours. Default: 2.
    #[schemars(range(min = 0, max = 10))]
    pub infra: Option<u32>,
    /// After a failure or timeout of the gate itself. Default: 0.
    #[schemars(range(min = 0, max = 10))]
    pub gate: Option<u32>,
}

/// What a sandbox may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Processors, such as `2` or `0.5`. Default: 2.
    #[schemars(rename = "cpu", with = "Option<schema::Processors>")]
    pub cpu_millis: Option<u32>,
    /// Memory, such as `512Mi` or `4Gi`. Default: `4Gi`.
    #[schemars(rename = "memory", with = "Option<schema::SizeText>")]
    pub memory_bytes: Option<u64>,
    /// What may be written, such as `10Gi`. Default: `10Gi`.
    #[schemars(rename = "disk", with = "Option<schema::SizeText>")]
    pub disk_bytes: Option<u64>,
    /// Processes and threads. Default: 4096.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub pids: Option<u32>,
}

/// One gate: commands that must end with status 0.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Gate {
    /// Its name, the key in the file.
    #[schemars(skip)]
    pub name: GateName,
    /// Shell scripts, one after the other, stopping at the first failure.
    #[schemars(with = "schema::Scripts")]
    pub run: Vec<String>,
    /// The folder to run in. Default: the root of the repository.
    #[schemars(with = "Option<schema::Path>")]
    pub dir: Option<String>,
    /// Gates that must pass before.
    #[schemars(with = "Option<schema::GateReferences>")]
    pub needs: Vec<GateName>,
    /// The gate in whose files it starts; it is needed, too.
    #[schemars(with = "Option<schema::GateReference>")]
    pub from: Option<GateName>,
    /// When it has a reason to run. Default: always.
    #[schemars(with = "Option<When>")]
    pub when: When,
    /// How long it may take. Default: as `defaults.timeout`.
    #[schemars(with = "Option<schema::DurationText>")]
    pub timeout: Option<Duration>,
    /// Whether it decides. `false`: reported only. Default: `true`.
    #[schemars(with = "Option<bool>")]
    pub blocking: bool,
    /// What it reaches. Default: as `defaults.network`.
    #[schemars(with = "Option<schema::AnyNetwork>")]
    pub network: Option<Network>,
    /// Report files that it writes.
    #[schemars(with = "Option<Reports>")]
    pub reports: Reports,
    /// What is kept when it does not pass.
    #[schemars(with = "Option<Debug>")]
    pub debug: Debug,
    /// What it may use at most. Default: as `defaults.resources`.
    #[schemars(with = "Option<Limits>")]
    pub resources: Limits,
    /// Variables of this gate, over those of the environment.
    #[schemars(with = "Option<schema::Variables>")]
    pub env: BTreeMap<String, String>,
    /// How often it is tried again. Default: as `defaults.retry`.
    #[schemars(with = "Option<Retry>")]
    pub retry: Retry,
}

/// When a gate has a reason to run. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct When {
    /// Globs of branches that the change goes to.
    #[schemars(with = "Option<schema::Globs>")]
    pub base: Vec<String>,
    /// Globs of files; one of them must have changed.
    #[schemars(with = "Option<schema::Globs>")]
    pub paths: Vec<String>,
    /// Globs of files whose changes don't count.
    #[schemars(with = "Option<schema::Globs>")]
    pub paths_ignore: Vec<String>,
}

/// Report files that a gate writes.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Reports {
    /// Globs of JUnit XML files. They add counts and failing tests; what decides is the exit status.
    #[schemars(with = "Option<schema::Globs>")]
    pub junit: Vec<String>,
}

/// What is kept when a gate does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Debug {
    /// How long its debug snapshot is kept, such as `24h` or `7d`; at most `30d`. Default: as long as there is room.
    #[schemars(with = "Option<schema::DurationText>")]
    pub keep: Option<Duration>,
}

/// When runs are cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cancel {
    /// Whether a newer head cancels the runs of older ones. Default: `true`.
    #[schemars(with = "Option<bool>")]
    pub on_push: bool,
}

impl Default for Cancel {
    fn default() -> Self {
        Self { on_push: true }
    }
}

/// Whether the first gate that does not pass stops the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailFast {
    /// Every gate runs to its end.
    Off,
    /// A blocking gate that does not pass stops the others.
    #[default]
    Blocking,
    /// Any gate that does not pass stops the others.
    Any,
}

#[cfg(test)]
mod tests;
