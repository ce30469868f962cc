//! The sandboxes of one machine: the engine, the layer store and the host base behind create, execute, seal and destroy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sandgate_domain::{LayerId, Resources, SandboxId, StepId};
use sandgate_egress::Policy;
use sandgate_sandbox::{Bind, Engine, EngineConfig, Network, Report, Spec};

use crate::base::{HostBase, HostEnvironment};
use crate::checkouts::{Checkout, Checkouts, Read, Source};
use crate::error::Error;
use crate::layers::{Layer, LayerStore, Owner, SealRule};
use crate::live::Live;
use crate::live_sandboxes::{LiveGuard, LiveSandboxes};
use crate::scripts::{INSIDE, RunFiles, Shell};

/// What a node needs to know of its machine.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The folder of its layers, its base and the files of its sandboxes.
    pub folder: PathBuf,
    /// The environment of the host, from which toolchains are found.
    pub host: HostEnvironment,
}

/// What a new sandbox is made of.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: SandboxId,
    /// The step that it is made for: nobody else gets to use it. None: it is for this process.
    pub step: Option<StepId>,
    /// The layers above the base, lowest first.
    pub layers: Vec<LayerId>,
    /// Whether it reaches the outside through the proxy.
    pub network: bool,
    /// Whether the proxy leads to private ranges too.
    pub private_ranges: bool,
    /// What it may use at most.
    pub limits: Resources,
    /// What it finds below `/run/sandgate`.
    pub files: RunFiles,
}

/// The sandboxes of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    layers: Arc<LayerStore>,
    base: HostBase,
    runs: PathBuf,
    shell: Shell,
    search_path: Vec<PathBuf>,
    checkouts: Checkouts,
    live: LiveSandboxes,
}

impl Node {
    /// Probes what this machine can hold, finds its tools, and opens the layer store.
    ///
    /// # Errors
    /// If the folder can't be used, or the host can't serve as a base. What can't be isolated is no error: see [`Node::report`].
    pub async fn open(config: NodeConfig) -> Result<Self, Error> {
        let folder = config.folder.clone();
        let (layers, runs, probes) = blocking(move || open_folders(&folder)).await?;
        let probing = Engine::probe(EngineConfig::new(probes));
        let host = config.host.clone();
        let base_folder = config.folder.join("base");
        let engine = probing.await?;
        let owner = engine.layer_owner();
        let base = blocking(move || HostBase::discover(&host, &base_folder, owner)).await?;
        let shell = Shell::of_this_host();
        let inner = Inner {
            engine,
            layers: Arc::new(layers),
            base,
            runs,
            shell,
            search_path: config.host.path,
            checkouts: Checkouts::default(),
            live: LiveSandboxes::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What holds on this machine and what does not, with reasons.
    pub fn report(&self) -> &Report {
        self.inner.engine.report()
    }

    /// The tools that sandboxes see.
    pub fn base(&self) -> &HostBase {
        &self.inner.base
    }

    /// The layers of this machine.
    pub fn layers(&self) -> &Arc<LayerStore> {
        &self.inner.layers
    }

    /// The ids that files of new layers get on disk.
    pub fn layer_owner(&self) -> Owner {
        self.inner.engine.layer_owner()
    }

    /// How scripts are started.
    pub fn shell(&self) -> Shell {
        self.inner.shell
    }

    /// Takes a checkout over, so that layers can be made of it under this name. A working tree is known to the process only
    /// that read it.
    pub fn hold(&self, name: &str, checkout: Checkout) {
        self.inner.checkouts.hold(name.to_owned(), checkout);
    }

    pub(crate) async fn read_source(&self, source: Source) -> Result<Arc<Read>, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.checkouts.read(&source, &inner.search_path, &inner.base.fingerprint))
            .await
    }

    /// Makes a sandbox; the variables that each of its commands gets.
    ///
    /// # Errors
    /// If a layer is missing, or the machine refuses; nothing is left behind then.
    pub async fn create(&self, request: Request) -> Result<BTreeMap<String, String>, Error> {
        let (id, step) = (request.id, request.step);
        let live = match self.inner.make(request, self.sandbox_environment()).await {
            Ok(live) => live,
            Err(error) => {
                self.inner.remove_remains(id).await?;
                return Err(error);
            }
        };
        let environment = live.environment().clone();
        self.inner.live.insert(id, step, live);
        Ok(environment)
    }

    /// A sandbox that was made for this process. Nobody ends it while the answer is kept.
    ///
    /// # Errors
    /// If it does not live here, or was made for a step.
    pub async fn live(&self, id: SandboxId) -> Result<LiveGuard, Error> {
        self.live_of(id, None).await
    }

    pub(crate) async fn live_of(
        &self,
        id: SandboxId,
        step: Option<StepId>,
    ) -> Result<LiveGuard, Error> {
        self.inner.live.get(id, step).await
    }

    /// Stops everything inside a sandbox and turns what was written into a layer.
    ///
    /// # Errors
    /// If it does not live here or is not of this step, or its files can't be moved into the store.
    pub async fn seal(
        &self,
        id: SandboxId,
        step: Option<StepId>,
        layer: LayerId,
        rule: SealRule,
    ) -> Result<Layer, Error> {
        let live = self.inner.live.take(id, step).await?;
        live.seal(layer, rule).await
    }

    /// Stops everything inside a sandbox and removes what was written; also what is left of one whose process was killed.
    /// Nothing there is not an error.
    ///
    /// # Errors
    /// If it is not of this step, or a file can't be removed.
    pub async fn destroy(&self, id: SandboxId, step: Option<StepId>) -> Result<(), Error> {
        match self.inner.live.take(id, step).await {
            Ok(live) => live.destroy().await,
            Err(Error::SandboxGone(_)) => self.inner.remove_remains(id).await,
            Err(error) => Err(error),
        }
    }

    /// The variables that every command of a sandbox gets.
    pub fn sandbox_environment(&self) -> BTreeMap<String, String> {
        let mut variables: BTreeMap<String, String> = self.inner.base.env.iter().cloned().collect();
        variables.insert("CI".to_owned(), "true".to_owned());
        variables.insert("SANDGATE".to_owned(), "1".to_owned());
        let path = variables.get("PATH").map_or("", String::as_str);
        let path = format!("{INSIDE}/bin:{path}");
        variables.insert("PATH".to_owned(), path);
        variables
    }
}

impl Inner {
    async fn make(
        self: &Arc<Self>,
        request: Request,
        mut environment: BTreeMap<String, String>,
    ) -> Result<Live, Error> {
        let inner = Arc::clone(self);
        let asked = request.clone();
        let (lower, scratch, run_folder) = blocking(move || inner.prepare(&asked)).await?;
        let network = if request.network { Network::Proxied } else { Network::None };
        let spec = Spec {
            name: request.id.to_string(),
            lower,
            upper: scratch.upper(),
            work: scratch.work(),
            binds: self.binds(&run_folder),
            network,
            limits: request.limits,
        };
        if let Some(path) = request.files.changed_paths_path() {
            environment.insert("SANDGATE_CHANGED_PATHS".to_owned(), path);
        }
        if request.network {
            let proxy = sandgate_egress::environment();
            environment.extend(proxy.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let sandbox = self.engine.create(spec).await?;
        let layers = Arc::clone(&self.layers);
        let policy = Policy { private_ranges: request.private_ranges, ..Policy::default() };
        Live::new(sandbox, scratch, run_folder, layers, environment, request.limits, policy)
    }

    async fn remove_remains(&self, id: SandboxId) -> Result<(), Error> {
        let layers = Arc::clone(&self.layers);
        let run_folder = self.runs.join(id.to_string());
        blocking(move || {
            layers.delete_scratch(id)?;
            remove_folder(&run_folder)
        })
        .await
    }

    fn prepare(
        &self,
        request: &Request,
    ) -> Result<(Vec<PathBuf>, crate::layers::Scratch, PathBuf), Error> {
        let mut lower = vec![self.base.skeleton.clone()];
        for id in &request.layers {
            let layer = self.layers.get_whole(*id)?.ok_or(Error::LayerMissing(*id))?;
            lower.push(layer.path);
        }
        let run_folder = self.runs.join(request.id.to_string());
        request.files.write(&run_folder, self.shell).map_err(Error::io("write", &run_folder))?;
        let scratch = self.layers.new_scratch(request.id)?;
        Ok((lower, scratch, run_folder))
    }

    fn binds(&self, run_folder: &Path) -> Vec<Bind> {
        let host = self.base.binds.iter();
        let mut binds: Vec<Bind> =
            host.map(|bind| Bind::read_only(&bind.source, &bind.target)).collect();
        binds.push(Bind::read_only(run_folder, INSIDE));
        binds
    }
}

fn open_folders(folder: &Path) -> Result<(LayerStore, PathBuf, PathBuf), Error> {
    let layers = LayerStore::open(&folder.join("store"))?;
    let runs = folder.join("sandboxes");
    let probes = folder.join("probes");
    for path in [&runs, &probes] {
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
    }
    Ok((layers, runs, probes))
}

/// Removes a folder of ours. No folder is not an error.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(Error::io("remove", folder)),
    }
}

/// Runs file work on a thread where it may take its time.
///
/// # Errors
/// Those of the work.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(Error::Interrupted),
        },
    }
}
