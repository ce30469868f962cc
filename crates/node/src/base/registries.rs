//! Where packages come from: the settings of cargo, npm, pip and go, without their credentials.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::sanitize::{Clean, cargo_config, npmrc, pip_conf, without_credentials};
use super::toolchains::Tools;
use super::{Exposed, GATE_HOME, HostEnvironment, Refused};

/// The longest settings file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What the skeleton gets of the settings of the host.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Path in the sandbox and contents.
    pub files: Vec<(PathBuf, String)>,
    /// Host files to copy as they are: path on the host, path in the sandbox.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// Files of bound folders that are covered by a version of ours: path on both sides.
    pub covers: Vec<PathBuf>,
    pub env: Vec<(String, String)>,
    pub listed: Vec<Exposed>,
    pub refused: Vec<Refused>,
}

/// Variables that are passed on, with the credentials of their URLs removed.
const VARIABLES: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NATIVE_TLS",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "YARN_NPM_REGISTRY_SERVER",
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GONOPROXY",
    "GOPRIVATE",
    "GOINSECURE",
    "GOTOOLCHAIN",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_UPDATE_ROOT",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_AUTO_INSTALL",
    "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
    "CARGO_NET_RETRY",
    "PYENV_VERSION",
    "TZ",
    "LC_ALL",
];

/// Reads the settings of the user and of the machine.
pub(super) fn read(environment: &HostEnvironment, tools: &Tools) -> Settings {
    let mut settings = Settings::default();
    let is_visible = |path: &str| tools.is_visible(Path::new(path));
    for name in VARIABLES {
        let Some(value) = environment.variable(name) else { continue };
        settings.variable(name, value, &is_visible);
    }
    for path in ["/usr/etc/npmrc", "/usr/local/etc/npmrc", "/opt/etc/npmrc"].map(Path::new) {
        settings.cover(path, &is_visible);
    }
    let global = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf"];
    for path in global.map(Path::new) {
        settings.file("pip", path, path, &|text| pip_conf(text, &is_visible));
    }
    let Some(home) = environment.home.as_deref() else { return settings };
    let gate = Path::new(GATE_HOME);
    let cargo_home =
        environment.variable("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    for name in ["config.toml", "config"] {
        let target = gate.join(".cargo").join(name);
        settings.file("cargo", &cargo_home.join(name), &target, &|text| {
            cargo_config(text, &is_visible)
        });
    }
    let npm = environment
        .variable("NPM_CONFIG_USERCONFIG")
        .or_else(|| environment.variable("npm_config_userconfig"));
    let npm = npm.map_or_else(|| home.join(".npmrc"), PathBuf::from);
    settings.file("npm", &npm, &gate.join(".npmrc"), &|text| npmrc(text, &is_visible));
    let config =
        environment.variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let named = environment.variable("PIP_CONFIG_FILE").map(PathBuf::from);
    let pip = [named, Some(config.join("pip/pip.conf")), Some(home.join(".pip/pip.conf"))];
    if let Some(pip) = pip.into_iter().flatten().find(|path| path.is_file()) {
        settings.file("pip", &pip, &gate.join(".config/pip/pip.conf"), &|text| {
            pip_conf(text, &is_visible)
        });
    }
    settings.go(&config.join("go/env"), &is_visible);
    settings.without_rehash(tools);
    settings
}

impl Settings {
    fn variable(&mut self, name: &str, value: &str, is_visible: &dyn Fn(&str) -> bool) {
        if value.starts_with('/') && !is_visible(value) {
            let reason = "it names a path that is not visible";
            self.refuse(name, Path::new(value), reason.to_owned());
            return;
        }
        let (clean, changed) = without_credentials(value);
        if changed {
            self.refuse(name, Path::new(""), "its credentials are removed".to_owned());
        }
        self.env.push((name.to_owned(), clean));
    }

    fn file(&mut self, tool: &str, source: &Path, target: &Path, clean: &dyn Fn(&str) -> Clean) {
        let Some(text) = read_settings(source) else { return };
        let clean = clean(&text);
        for removed in clean.removed {
            self.refuse(&format!("{tool} settings"), source, format!("removed: {removed}"));
        }
        if !clean.text.is_empty() {
            let what = format!("{tool} settings");
            self.listed.push(Exposed { what, path: source.to_owned() });
            self.files.push((target.to_owned(), clean.text));
        }
    }

    /// A settings file in a folder that is bound as it is: covered if there are credentials in it.
    fn cover(&mut self, path: &Path, is_visible: &dyn Fn(&str) -> bool) {
        let Some(text) = read_settings(path) else { return };
        let clean = npmrc(&text, is_visible);
        if clean.removed.is_empty() {
            return;
        }
        for removed in clean.removed {
            self.refuse("npm settings", path, format!("removed: {removed}"));
        }
        self.files.push((path.to_owned(), clean.text));
        self.covers.push(path.to_owned());
    }

    fn go(&mut self, path: &Path, is_visible: &dyn Fn(&str) -> bool) {
        let Some(text) = read_settings(path) else { return };
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let is_known = VARIABLES.contains(&name) && name.starts_with("GO");
            if is_known && !self.env.iter().any(|(known, _)| known == name) {
                self.variable(name, value, is_visible);
            }
        }
    }

    /// After an installation pyenv writes into its folder of shims, and calls the installation failed if it can't. What is
    /// installed in a sandbox goes below its own home, which the search path leads to without shims.
    fn without_rehash(&mut self, tools: &Tools) {
        let hooks = tools.exposed.iter().map(|folder| folder.join("exec/pip-rehash.bash"));
        for hook in hooks.filter(|hook| hook.is_file()) {
            self.files.push((hook.clone(), "# shims are read-only here\n".to_owned()));
            self.covers.push(hook);
        }
    }

    /// The files and folders of `/etc` that the settings name.
    pub(super) fn named_in_etc(&self) -> Vec<PathBuf> {
        let texts =
            self.files.iter().map(|(_, text)| text).chain(self.env.iter().map(|(_, value)| value));
        let mut paths: Vec<_> = texts
            .flat_map(|text| text.split(|c: char| c.is_whitespace() || "=\"',:".contains(c)))
            .filter(|word| word.starts_with("/etc/") && !word.contains(".."))
            .map(PathBuf::from)
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }

    pub(super) fn refuse(&mut self, what: &str, path: &Path, reason: String) {
        self.refused.push(Refused { what: what.to_owned(), path: path.to_owned(), reason });
    }
}

fn read_settings(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).ok()?;
    String::from_utf8(text).ok()
}
