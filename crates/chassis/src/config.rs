//! The configuration of a process, in layers: defaults, `sandgate.yaml`, variables, flags. A later layer replaces the
//! value of a key whole. Every value knows where it came from, so that every complaint can name the place.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::{Environment, Error, Secret};

mod file;
mod key;
mod value;
mod variables;

use key::{KEYS, Kind};

/// The file that is read from the current folder if no other one is given.
pub const CONFIG_FILE: &str = "sandgate.yaml";

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where HTTP is answered (`server.listen`); always a loopback address.
    pub listen: SocketAddr,
    /// Where gRPC is answered (`server.grpcListen`); always a loopback address.
    pub grpc_listen: SocketAddr,
    /// More names under which the pages may be asked for (`server.allowedHosts`).
    pub allowed_hosts: Vec<String>,
    /// What webhooks of GitHub are signed with (`webhooks.github.secrets`); any of them is good. None: they are refused.
    pub webhook_secrets: Vec<Secret>,
    /// Logins that are trusted as members (`trust.members`).
    pub members: Vec<String>,
    /// Logins that are agents (`trust.agents`).
    pub agents: Vec<String>,
    /// How many gates run at a time at most (`admission.slots`); none: four for each processor.
    pub slots: Option<u16>,
    /// How much processor time gates may ask for together, in percent of what there is (`admission.cpuOvercommit`).
    pub cpu_overcommit_percent: u32,
    /// How much memory gates may ask for together, in bytes (`admission.memory`); none: what there is, less a reserve.
    pub memory_bytes: Option<u64>,
    /// How long approved snapshots are kept (`snapshots.keepApprovedDays`); the newest of a branch always is.
    pub keep_approved: Duration,
}

/// Where values may come from.
#[derive(Debug)]
pub struct ConfigSources<'a> {
    /// The file of `--config`; it must exist. None: [`CONFIG_FILE`] in the folder, if it is there.
    pub file: Option<&'a Path>,
    /// The current folder.
    pub folder: &'a Path,
    /// The variables.
    pub environment: &'a Environment,
    /// The flags that were given.
    pub flags: Vec<ConfigFlag>,
}

/// A flag that sets a key.
#[derive(Debug, Clone)]
pub struct ConfigFlag {
    /// The key, such as `server.listen`.
    pub key: &'static str,
    /// The flag, such as `--listen`.
    pub flag: &'static str,
    /// Its value.
    pub value: String,
}

/// One line of `config view`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    /// The key.
    pub key: &'static str,
    /// Its value; secrets are redacted.
    pub value: String,
    /// Where the value comes from.
    pub origin: String,
}

/// A configuration together with where each value comes from.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The values.
    pub config: Config,
    settings: Settings,
}

type Settings = BTreeMap<&'static str, Setting>;

/// The texts given for a key; a secret among them is why this is not printed.
struct Setting {
    texts: Vec<String>,
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    File { path: PathBuf, line: usize, column: usize },
    Variable(String),
    Flag(&'static str),
}

impl LoadedConfig {
    /// Reads all layers.
    ///
    /// # Errors
    /// [`Error::Config`] with the place: an unknown key, a value of the wrong kind, a file that can't be read.
    pub fn load(sources: ConfigSources<'_>) -> Result<Self, Error> {
        let mut settings: Settings = KEYS
            .iter()
            .map(|key| {
                let texts = key.default.iter().map(|text| (*text).to_owned()).collect();
                (key.name, Setting { texts, origin: Origin::Default })
            })
            .collect();
        settings.extend(file::read(sources.file, sources.folder)?);
        settings.extend(variables::read(sources.environment)?);
        for ConfigFlag { key, flag, value } in sources.flags {
            settings.insert(key, Setting { texts: vec![value], origin: Origin::Flag(flag) });
        }
        let config = value::config(&settings)?;
        Ok(Self { config, settings })
    }

    /// All keys with value and origin.
    pub fn view(&self) -> Vec<ShownSetting> {
        let shown = KEYS.iter().filter_map(|key| {
            let Setting { texts, origin } = self.settings.get(key.name)?;
            let value = match key.kind {
                Kind::Secrets => vec!["<redacted>"; texts.len()].join(", "),
                Kind::Text | Kind::List => texts.join(", "),
            };
            Some(ShownSetting { key: key.name, value, origin: origin.to_string() })
        });
        shown.collect()
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} texts from {}", self.texts.len(), self.origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line, column } => {
                write!(formatter, "{}:{line}:{column}", path.display())
            }
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag(flag) => formatter.write_str(flag),
        }
    }
}

fn fault(origin: impl fmt::Display, message: impl Into<String>) -> Error {
    Error::Config { place: origin.to_string(), message: message.into() }
}
