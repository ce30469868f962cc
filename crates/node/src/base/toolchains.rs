//! Which folders below a home the search path leads to, and what has to be visible behind them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{Exposed, HostEnvironment, Refused};

/// A toolchain manager: where it lives below a home, and which parts of it are tools.
struct Manager {
    name: &'static str,
    /// The variable that names its root; passed on if it is exposed.
    variable: Option<&'static str>,
    /// Its root below a home.
    root: &'static str,
    /// What to expose of the root; everything if empty.
    parts: &'static [&'static str],
    /// The folder whose entries are the installed versions.
    versions: Option<&'static str>,
}

const fn manager(
    name: &'static str,
    variable: Option<&'static str>,
    root: &'static str,
    parts: &'static [&'static str],
    versions: Option<&'static str>,
) -> Manager {
    Manager { name, variable, root, parts, versions }
}

const RUSTUP: Manager = manager("rustup", Some("RUSTUP_HOME"), ".rustup", &[], Some("toolchains"));

/// Roots with credentials, caches or histories beside the tools list the parts that are tools.
const MANAGERS: &[Manager] = &[
    // The home of cargo itself is a writable one in the sandbox.
    manager("cargo", Some("CARGO_HOME"), ".cargo", &["bin"], None),
    RUSTUP,
    manager(
        "pyenv",
        Some("PYENV_ROOT"),
        ".pyenv",
        &["bin", "libexec", "shims", "versions", "plugins", "pyenv.d", "completions", "version"],
        Some("versions"),
    ),
    manager(
        "nvm",
        Some("NVM_DIR"),
        ".nvm",
        &["versions", "alias", "nvm.sh", "nvm-exec", "bash_completion"],
        Some("versions/node"),
    ),
    manager(
        "fnm",
        Some("FNM_DIR"),
        ".local/share/fnm",
        &["node-versions", "aliases"],
        Some("node-versions"),
    ),
    manager("fnm", None, ".fnm", &["node-versions", "aliases"], Some("node-versions")),
    manager(
        "volta",
        Some("VOLTA_HOME"),
        ".volta",
        &["bin", "tools", "layout.v4"],
        Some("tools/image/node"),
    ),
    manager(
        "asdf",
        Some("ASDF_DATA_DIR"),
        ".asdf",
        &["shims", "installs", "plugins", "bin", "lib", "libexec", "asdf.sh"],
        Some("installs"),
    ),
    manager(
        "mise",
        Some("MISE_DATA_DIR"),
        ".local/share/mise",
        &["shims", "installs", "plugins"],
        Some("installs"),
    ),
    manager(
        "rbenv",
        Some("RBENV_ROOT"),
        ".rbenv",
        &["bin", "libexec", "shims", "versions", "plugins", "rbenv.d", "version"],
        Some("versions"),
    ),
    manager(
        "nodenv",
        Some("NODENV_ROOT"),
        ".nodenv",
        &["bin", "libexec", "shims", "versions", "plugins", "nodenv.d", "version"],
        Some("versions"),
    ),
    manager(
        "goenv",
        Some("GOENV_ROOT"),
        ".goenv",
        &["bin", "libexec", "shims", "versions", "plugins", "version"],
        Some("versions"),
    ),
    manager(
        "jenv",
        Some("JENV_ROOT"),
        ".jenv",
        &["bin", "libexec", "shims", "versions", "plugins", "version"],
        Some("versions"),
    ),
    manager("sdkman", Some("SDKMAN_DIR"), ".sdkman", &["candidates"], Some("candidates")),
    manager("go tools", Some("GOPATH"), "go", &["bin"], None),
    manager("go", Some("GOROOT"), ".local/go", &[], None),
    manager("go", None, "sdk", &[], None),
    manager("bun", Some("BUN_INSTALL"), ".bun", &["bin"], None),
    manager("deno", Some("DENO_INSTALL"), ".deno", &["bin"], None),
    manager("pnpm", Some("PNPM_HOME"), ".local/share/pnpm", &[], None),
    manager(
        "dotnet",
        Some("DOTNET_ROOT"),
        ".dotnet",
        &["dotnet", "host", "sdk", "shared", "packs", "tools", "templates"],
        Some("sdk"),
    ),
    manager("ghcup", None, ".ghcup", &["bin", "ghc", "hls"], Some("ghc")),
    manager(
        "elan",
        Some("ELAN_HOME"),
        ".elan",
        &["bin", "toolchains", "settings.toml"],
        Some("toolchains"),
    ),
    manager("juliaup", None, ".juliaup", &["bin"], None),
    manager("composer", None, ".config/composer", &["vendor"], None),
    manager("composer", None, ".composer", &["vendor"], None),
];

/// Names that no folder on the search path may have below a home.
const PRIVATE: [&str; 12] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config",
    ".mozilla",
    ".password-store",
    ".netrc",
    ".git",
    ".terraform.d",
];

/// The most links of a folder that are followed to what they point to.
const MAX_LINKS: usize = 2000;

/// What the search path leads to.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// Folders and files to expose, none below another.
    pub exposed: BTreeSet<PathBuf>,
    /// The search path of the sandbox.
    pub path: Vec<PathBuf>,
    pub env: Vec<(String, String)>,
    pub listed: BTreeSet<Exposed>,
    pub refused: BTreeSet<Refused>,
    /// Names of managers and versions, for the fingerprint.
    pub versions: BTreeSet<String>,
    /// The system folders that are bound.
    pub system: Vec<PathBuf>,
}

impl Tools {
    /// Whether a sandbox sees this path of the host, `/etc` included.
    pub(super) fn is_visible(&self, path: &Path) -> bool {
        path.starts_with("/etc") || self.is_tool(path)
    }

    fn is_tool(&self, path: &Path) -> bool {
        self.system.iter().chain(&self.exposed).any(|folder| path.starts_with(folder))
    }

    fn expose(&mut self, what: &str, path: &Path) {
        if self.is_tool(path) {
            return;
        }
        self.exposed.retain(|known| !known.starts_with(path));
        self.exposed.insert(path.to_owned());
        self.listed.insert(Exposed { what: what.to_owned(), path: path.to_owned() });
    }

    fn refuse(&mut self, path: &Path, reason: &str) {
        self.refused.insert(Refused {
            what: "a folder of the search path".to_owned(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Follows the search path of `environment`.
pub(super) fn find(environment: &HostEnvironment) -> Tools {
    let mut tools = Tools { system: system_folders(environment), ..Tools::default() };
    if tools.system.iter().all(|folder| folder != Path::new("/opt")) && Path::new("/opt").is_dir() {
        tools.refuse(Path::new("/opt"), "the home lies below it");
    }
    for folder in &environment.path {
        if let Some(visible) = visible_folder(environment, &mut tools, folder)
            && !tools.path.contains(&visible)
        {
            tools.path.push(visible);
        }
    }
    tools
}

/// `/usr`, `/opt` and the folders beside them that are no links into `/usr`.
fn system_folders(environment: &HostEnvironment) -> Vec<PathBuf> {
    ["/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|folder| fs::symlink_metadata(folder).is_ok())
        .filter(|folder| !environment.home.as_ref().is_some_and(|home| home.starts_with(folder)))
        .collect()
}

/// The folder as the sandbox sees it, after what it needs has been exposed.
fn visible_folder(
    environment: &HostEnvironment,
    tools: &mut Tools,
    folder: &Path,
) -> Option<PathBuf> {
    let is_plain =
        folder.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !folder.is_absolute() || !is_plain {
        tools.refuse(folder, "it is no absolute path");
        return None;
    }
    if tools.is_tool(folder) {
        return Some(folder.to_owned());
    }
    // A folder that is not there is no loss.
    let real = fs::canonicalize(folder).ok().filter(|real| real.is_dir())?;
    for candidate in [folder, real.as_path()] {
        if tools.is_tool(candidate) || expose_manager(environment, tools, candidate) {
            return Some(candidate.to_owned());
        }
    }
    let Some(home) = environment.home.as_deref() else {
        tools.refuse(folder, "it is neither below /usr or /opt nor below a home");
        return None;
    };
    match other_folder(home, folder, &real) {
        Ok(exposed) => {
            tools.expose("a folder of the search path", &exposed);
            expose_linked(tools, home, folder);
            Some(folder.to_owned())
        }
        Err(reason) => {
            tools.refuse(folder, reason);
            None
        }
    }
}

fn expose_manager(environment: &HostEnvironment, tools: &mut Tools, folder: &Path) -> bool {
    for manager in MANAGERS {
        let Some(root) = root_of(environment, manager) else { continue };
        let Ok(inside) = folder.strip_prefix(&root) else { continue };
        let is_part = |part: &&str| inside.starts_with(*part);
        if !manager.parts.is_empty() && !manager.parts.iter().any(is_part) {
            continue;
        }
        expose_parts(tools, manager, &root);
        if manager.name == "cargo"
            && let Some(root) = root_of(environment, &RUSTUP).filter(|root| root.is_dir())
        {
            expose_parts(tools, &RUSTUP, &root);
        }
        return true;
    }
    false
}

fn root_of(environment: &HostEnvironment, manager: &Manager) -> Option<PathBuf> {
    let home = environment.home.as_deref();
    let named = manager
        .variable
        .and_then(|name| environment.variable(name))
        .map(PathBuf::from)
        .filter(|root| root.is_absolute() && home.is_none_or(|home| !home.starts_with(root)));
    named.or_else(|| home.map(|home| home.join(manager.root)))
}

fn expose_parts(tools: &mut Tools, manager: &Manager, root: &Path) {
    if manager.parts.is_empty() {
        tools.expose(manager.name, root);
    }
    for part in manager.parts.iter().map(|part| root.join(part)).filter(|part| part.exists()) {
        tools.expose(manager.name, &part);
    }
    if let (Some(variable), Some(root)) = (manager.variable, root.to_str())
        && variable != "CARGO_HOME"
        && variable != "GOPATH"
    {
        let pair = (variable.to_owned(), root.to_owned());
        if !tools.env.contains(&pair) {
            tools.env.push(pair);
        }
    }
    if let Some(versions) = manager.versions {
        for entry in fs::read_dir(root.join(versions)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let build =
                if manager.name == "rustup" { rust_build(&entry.path()) } else { String::new() };
            tools.versions.insert(format!("{} {name} {build}", manager.name));
        }
    }
}

/// The name of the compiler's library, which holds a digest of its build: `stable` is not always the same.
fn rust_build(toolchain: &Path) -> String {
    fs::read_dir(toolchain.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with("librustc_driver-"))
        .unwrap_or_default()
}

/// A folder of no known manager: what to expose for it, or why nothing.
fn other_folder(home: &Path, folder: &Path, real: &Path) -> Result<PathBuf, &'static str> {
    let inside = folder
        .strip_prefix(home)
        .or_else(|_| real.strip_prefix(home))
        .map_err(|_| "it is neither below /usr or /opt nor below the home")?;
    if inside.as_os_str().is_empty() || home.starts_with(real) {
        return Err("it is the home itself");
    }
    if is_private(inside) || real.strip_prefix(home).is_ok_and(is_private) {
        return Err("it lies in a private folder");
    }
    if folder.ends_with("node_modules/.bin") {
        return Err("it belongs to one project; gates install their own");
    }
    let prefix = folder.parent().unwrap_or(folder);
    if prefix.join("pyvenv.cfg").exists() {
        return Err("it is a virtual environment; let `setup` make one");
    }
    if prefix.join("conda-meta").is_dir() {
        return Ok(prefix.to_owned());
    }
    Ok(folder.to_owned())
}

fn is_private(inside: &Path) -> bool {
    inside.components().any(|part| PRIVATE.iter().any(|name| part.as_os_str() == *name))
}

/// Exposes what the links of a folder such as `~/.local/bin` point to below the home: the installed tool where one is
/// recognised, else the one file.
fn expose_linked(tools: &mut Tools, home: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_LINKS) {
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let Ok(target) = fs::canonicalize(entry.path()) else { continue };
        let Ok(inside) = target.strip_prefix(home) else { continue };
        if is_private(inside) || tools.is_tool(&target) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let prefix = target.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
        match prefix.filter(|prefix| is_installed_tool(home, prefix)) {
            Some(prefix) => {
                tools.expose(&name, prefix);
                expose_interpreter(tools, home, &name, prefix);
            }
            None => tools.expose(&name, &target),
        }
    }
}

fn is_installed_tool(home: &Path, prefix: &Path) -> bool {
    let shared = [".local/share", ".local/lib", ".local/opt", ".local/pipx"];
    prefix.join("pyvenv.cfg").exists()
        || shared.iter().any(|folder| {
            prefix.strip_prefix(home.join(folder)).is_ok_and(|rest| !rest.as_os_str().is_empty())
        })
}

/// The interpreter behind a tool in a virtual environment of its own.
fn expose_interpreter(tools: &mut Tools, home: &Path, name: &str, prefix: &Path) {
    let Ok(python) = fs::canonicalize(prefix.join("bin/python")) else { return };
    let installation = python.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
    if let Some(installation) = installation
        && installation
            .strip_prefix(home)
            .is_ok_and(|inside| inside.components().count() > 1 && !is_private(inside))
    {
        tools.expose(name, installation);
    }
}
