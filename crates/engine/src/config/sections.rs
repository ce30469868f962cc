//! The maps of the file and their keys: those that are built, and those that are known but not built yet.

use serde::{Deserialize, Serialize};

/// A key that asks for something that is not built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsupportedKey {
    /// The path of the key, such as `gates.unit.matrix`.
    pub key: String,
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What to do instead.
    pub instead: String,
    /// Whether the run must fail, because ignoring the key could turn red into green.
    pub fatal: bool,
}

/// One kind of map in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Top,
    Environment,
    Setup,
    Defaults,
    Retry,
    Resources,
    Gate,
    When,
    Reports,
    Debug,
    Cancel,
}

impl Section {
    /// The keys that are built; a test compares them with the schema.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &[
                "version",
                "environment",
                "defaults",
                "gates",
                "fail_fast",
                "approve_from",
                "cancel",
            ],
            Self::Environment => &["image", "setup", "env"],
            Self::Setup => &["run", "inputs", "placeholders", "network"],
            Self::Defaults => &["timeout", "network", "retry", "resources"],
            Self::Retry => &["infra", "gate"],
            Self::Resources => &["cpu", "memory", "disk", "pids"],
            Self::Gate => &[
                "run",
                "dir",
                "needs",
                "from",
                "when",
                "timeout",
                "blocking",
                "network",
                "reports",
                "debug",
                "resources",
                "env",
                "retry",
            ],
            Self::When => &["base", "paths", "paths_ignore"],
            Self::Reports => &["junit"],
            Self::Debug => &["keep"],
            Self::Cancel => &["on_push"],
        }
    }

    /// The keys that are known but not built.
    pub fn missing(self) -> impl Iterator<Item = &'static Missing> {
        MISSING.iter().filter(move |missing| missing.section == self)
    }
}

/// A key that is known but not built.
#[derive(Debug)]
pub(super) struct Missing {
    pub section: Section,
    pub key: &'static str,
    /// Whether ignoring it could turn red into green.
    pub fatal: bool,
    /// Why it is fatal, or why not; shown in the schema.
    pub why: &'static str,
    pub instead: &'static str,
}

const fn missing(
    section: Section,
    key: &'static str,
    fatal: bool,
    why: &'static str,
    instead: &'static str,
) -> Missing {
    Missing { section, key, fatal, why, instead }
}

const FATAL: bool = true;
const HARMLESS: bool = false;

/// The table of what is known but not built. An empty value asks for nothing and is accepted.
pub(super) const MISSING: &[Missing] = &[
    missing(
        Section::Top,
        "environments",
        FATAL,
        "gates would run in another environment than the one they ask for",
        "describe one `environment`; let the gates that need more install it in their `run`",
    ),
    missing(
        Section::Top,
        "services",
        FATAL,
        "tests that skip themselves without their service would pass",
        "start the service in the gate's `run`, in the background, before the tests",
    ),
    missing(
        Section::Top,
        "mode",
        HARMLESS,
        "gates that were only to be watched block; nothing turns green",
        "set `blocking: false` on the gates that should not block",
    ),
    missing(
        Section::Top,
        "external",
        FATAL,
        "the verdict would not wait for checks that it has to wait for",
        "require those checks beside `sandgate` in the branch protection, and remove the key",
    ),
    missing(
        Section::Top,
        "preview",
        HARMLESS,
        "a preview does not take part in the verdict",
        "remove the key; start the application in a gate to test it",
    ),
    missing(
        Section::Setup,
        "secrets",
        FATAL,
        "what the setup leaves out without its secrets is not tested",
        "use packages that can be installed without credentials",
    ),
    missing(
        Section::Gate,
        "environment",
        FATAL,
        "the gate would run in another environment than the one it asks for",
        "describe one `environment`; let the gate install what it needs more in its `run`",
    ),
    missing(
        Section::Gate,
        "services",
        FATAL,
        "tests that skip themselves without their service would pass",
        "start the service in the gate's `run`, in the background, before the tests",
    ),
    missing(
        Section::Gate,
        "secrets",
        FATAL,
        "tests that skip themselves without their secret would pass",
        "move the tests that need the secret into a gate of their own, and leave it out",
    ),
    missing(
        Section::Gate,
        "matrix",
        FATAL,
        "combinations would not be tested",
        "write one gate for each combination, with its values in `env`",
    ),
    missing(
        Section::Gate,
        "artifacts",
        HARMLESS,
        "what is kept does not take part in the verdict",
        "remove the key; the debug snapshot of a gate that fails holds all its files",
    ),
    missing(
        Section::Reports,
        "sarif",
        HARMLESS,
        "a report adds annotations; what decides is the exit status",
        "let the tool end with a status other than 0 when it finds something",
    ),
];

/// What to do instead of an image other than `host`. Fatal: another toolchain is another test.
pub(super) const INSTEAD_OF_IMAGE: &str =
    "use `image: host` and let `setup.run` install what the machine does not have";
/// What to do instead of a list of hosts. Fatal: neither nothing nor everything is what was asked for.
pub(super) const INSTEAD_OF_HOSTS: &str =
    "write `network: full`, or `network: none` and fetch what is needed in `environment.setup`";
