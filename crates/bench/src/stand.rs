//! Where measuring happens: a folder on the disk that builds are on, an engine, and the binary `sandgate`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use sandgate_domain::Resources;
use sandgate_sandbox::{Bind, Engine, EngineConfig, Network, Spec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Shared by all figures.
pub struct Stand<'a> {
    /// Drives what is asynchronous.
    pub runtime: &'a Runtime,
    /// Makes sandboxes.
    pub engine: Engine,
    /// Goes with everything in it.
    folder: TempDir,
    /// The optimised binary, built beside this one.
    sandgate: PathBuf,
}

impl<'a> Stand<'a> {
    /// Probes this machine.
    pub fn open(runtime: &'a Runtime) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let built = own.parent().context("this program lies in no folder")?;
        let sandgate = built.join("sandgate");
        if !sandgate.is_file() {
            bail!("{} is missing: cargo build --release -p sandgate-cli", sandgate.display());
        }
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(built)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        let engine = runtime.block_on(Engine::probe(EngineConfig::new(state)))?;
        Ok(Self { runtime, engine, folder, sandgate })
    }

    /// A new folder for one figure.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// Where everything is measured.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The binary that is measured.
    pub fn binary(&self) -> &Path {
        &self.sandgate
    }

    /// A call of the binary `sandgate`.
    pub fn sandgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.sandgate);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// A folder that may be a layer.
    pub fn layer(&self, path: PathBuf) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(&path)?;
        if let Some((user, group)) = self.engine.layer_owner() {
            chown(&path, Some(user), Some(group))?;
        }
        Ok(path)
    }

    /// A sandbox over `/usr` with so many layers, the lowest of which has the links of the root.
    pub fn spec(&self, folder: &Path, name: &str, layers: usize) -> anyhow::Result<Spec> {
        let mut lower = Vec::new();
        for number in 0..layers {
            lower.push(self.layer(folder.join(format!("layer-{number}")))?);
        }
        for (name, target) in root_links() {
            let path = lower.first().context("no layer")?.join(name);
            if !path.is_symlink() {
                symlink(target, path)?;
            }
        }
        let mut binds = vec![Bind::read_only("/usr", "/usr")];
        binds.extend(root_folders().map(|path| Bind::read_only(path.clone(), path)));
        let own = self.layer(folder.join(name))?;
        Ok(Spec {
            name: name.to_owned(),
            lower,
            upper: self.layer(own.join("upper"))?,
            work: self.layer(own.join("work"))?,
            binds,
            network: Network::None,
            limits: Resources::default(),
        })
    }
}

const SYSTEM: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Names of the host's root that are links, and where they lead.
pub fn root_links() -> impl Iterator<Item = (&'static str, PathBuf)> {
    SYSTEM.iter().filter_map(|name| Some((*name, fs::read_link(Path::new("/").join(name)).ok()?)))
}

/// Folders of the host's root that programs need beside `/usr`, where they are no links.
pub fn root_folders() -> impl Iterator<Item = PathBuf> {
    let paths = SYSTEM.iter().map(|name| Path::new("/").join(name));
    paths.filter(|path| !path.is_symlink() && path.is_dir())
}
