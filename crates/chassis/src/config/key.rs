//! The keys that exist.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One text.
    Text,
    /// A list of texts.
    List,
    /// A list of texts that are not shown.
    Secrets,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static [&'static str],
}

const fn key(name: &'static str, kind: Kind, default: &'static [&'static str]) -> Key {
    Key { name, kind, default }
}

pub(super) const LISTEN: &str = "server.listen";
pub(super) const GRPC_LISTEN: &str = "server.grpcListen";
pub(super) const ALLOWED_HOSTS: &str = "server.allowedHosts";
pub(super) const WEBHOOK_SECRETS: &str = "webhooks.github.secrets";
pub(super) const MEMBERS: &str = "trust.members";
pub(super) const AGENTS: &str = "trust.agents";
pub(super) const SLOTS: &str = "admission.slots";
pub(super) const CPU_OVERCOMMIT: &str = "admission.cpuOvercommit";
pub(super) const MEMORY: &str = "admission.memory";
pub(super) const KEEP_APPROVED: &str = "snapshots.keepApprovedDays";

/// All keys, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    key(LISTEN, Kind::Text, &["127.0.0.1:8080"]),
    key(GRPC_LISTEN, Kind::Text, &["127.0.0.1:8081"]),
    key(ALLOWED_HOSTS, Kind::List, &[]),
    key(WEBHOOK_SECRETS, Kind::Secrets, &[]),
    key(MEMBERS, Kind::List, &[]),
    key(AGENTS, Kind::List, &[]),
    key(SLOTS, Kind::Text, &[]),
    key(CPU_OVERCOMMIT, Kind::Text, &["2"]),
    key(MEMORY, Kind::Text, &[]),
    key(KEEP_APPROVED, Kind::Text, &["30"]),
];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// "unknown key …; did you mean …?"
pub(super) fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    let near = KEYS
        .iter()
        .map(|key| {
            (strsim::damerau_levenshtein(&shown.to_lowercase(), &key.name.to_lowercase()), key)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, key)| *distance <= key.name.len() / 3);
    match near {
        Some((_, key)) => format!("unknown key `{shown}`; did you mean `{}`?", key.name),
        None => {
            let all: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            format!("unknown key `{shown}`; the keys are {}", all.join(", "))
        }
    }
}
