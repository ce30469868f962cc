//! The sandboxes of one machine: the engine, the layer store and the host base behind create, execute, seal and destroy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sandgate_domain::{IsolationLevel, LayerId, Resources, SandboxId, StepId, TrustTier};
use sandgate_egress::Policy;
use sandgate_sandbox::{Bind, Engine, EngineConfig, Network, PlainFolder, Report, Spec};
use tokio::sync::OnceCell;

use crate::base::{HostBase, HostEnvironment, WORKSPACE};
use crate::checkouts::{Checkout, Checkouts, Read, Source};
use crate::error::Error;
use crate::layers::{Layer, LayerStore, Owner, SealRule};
use crate::live::{Files, Live};
use crate::live_sandboxes::{LiveGuard, LiveSandboxes};
use crate::places::Places;
use crate::plain::may_run;
use crate::scripts::{INSIDE, RunFiles, Shell};

/// What a node needs to know of its machine.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The folder of its layers, its base and the files of its sandboxes.
    pub folder: PathBuf,
    /// The environment of the host, from which toolchains are found.
    pub host: HostEnvironment,
    /// The least isolation that is good enough. The best that can be had is what is taken.
    pub least: IsolationLevel,
}

/// What a new sandbox is made of.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: SandboxId,
    /// The step that it is made for: nobody else gets to use it. None: it is for this process.
    pub step: Option<StepId>,
    /// How far the author of what runs in it is trusted.
    pub tier: TrustTier,
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

/// What callers know of a new sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The variables that each of its commands gets.
    pub environment: BTreeMap<String, String>,
    /// Where its folders really are, by what sandboxes call them; empty if they are there.
    pub places: BTreeMap<String, String>,
}

/// The sandboxes of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    layers: Arc<LayerStore>,
    host: HostEnvironment,
    /// Found out once, since it takes longer than all else of a start.
    base: OnceCell<Arc<HostBase>>,
    folder: PathBuf,
    plain: PlainFolder,
    runs: PathBuf,
    shell: Shell,
    checkouts: Checkouts,
    live: LiveSandboxes,
}

impl Node {
    /// Probes what this machine can hold, and opens the layer store.
    ///
    /// # Errors
    /// If the folder can't be used. What can't be isolated is no error: see [`Node::report`].
    pub async fn open(config: NodeConfig) -> Result<Self, Error> {
        let folder = config.folder.clone();
        let (layers, runs, probes) = blocking(move || open_folders(&folder)).await?;
        let plain_folder = config.folder.join("process");
        let plain = PlainFolder::new(&plain_folder);
        let consent = (config.least == IsolationLevel::Process).then(|| plain.clone());
        let probing = Engine::probe(EngineConfig { plain: consent, ..EngineConfig::new(probes) });
        let engine = probing.await?;
        let shell = Shell::of_this_host();
        let inner = Inner {
            engine,
            layers: Arc::new(layers),
            host: config.host,
            base: OnceCell::new(),
            folder: config.folder,
            plain,
            runs,
            shell,
            checkouts: Checkouts::default(),
            live: LiveSandboxes::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What holds on this machine and what does not, with reasons.
    pub fn report(&self) -> &Report {
        self.inner.engine.report()
    }

    /// The level at which sandboxes are made here.
    pub fn level(&self) -> IsolationLevel {
        self.report().level
    }

    /// Takes the place of plain sandboxes for this process, of which there can be one at a time; nothing to take with
    /// namespaces.
    ///
    /// # Errors
    /// If another process has it.
    pub fn reserve(&self) -> Result<(), Error> {
        Ok(self.inner.engine.reserve()?)
    }

    /// The tools that sandboxes see. They are looked for when somebody asks for the first time; who asks meanwhile waits.
    ///
    /// # Errors
    /// If the host can't serve as a base.
    pub async fn base(&self) -> Result<&Arc<HostBase>, Error> {
        let inner = &self.inner;
        inner
            .base
            .get_or_try_init(|| async {
                let inner = Arc::clone(inner);
                blocking(move || inner.discover().map(Arc::new)).await
            })
            .await
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
        let level = self.level();
        may_run(level, source.tier)?;
        let base = Arc::clone(self.base().await?);
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.checkouts.read(&source, &inner.host.path, &base.fingerprint, level))
            .await
    }

    /// Makes a sandbox; the variables that each of its commands gets.
    ///
    /// # Errors
    /// If a layer is missing, the machine refuses, or plain processes were to run what a stranger brings; nothing is left
    /// behind then.
    pub async fn create(&self, request: Request) -> Result<Made, Error> {
        may_run(self.level(), request.tier)?;
        let (id, step) = (request.id, request.step);
        let base = self.base().await?;
        let live = match self.inner.make(request, base).await {
            Ok(live) => live,
            Err(error) => {
                self.inner.remove_remains(id).await?;
                return Err(error);
            }
        };
        let made = Made { environment: live.environment().clone(), places: live.places() };
        self.inner.live.insert(id, step, live);
        Ok(made)
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
}

/// The variables that every command of a sandbox gets.
pub(crate) fn sandbox_environment(base: &HostBase) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = base.env.iter().cloned().collect();
    variables.insert("CI".to_owned(), "true".to_owned());
    variables.insert("SANDGATE".to_owned(), "1".to_owned());
    variables.insert("SANDGATE_WORKSPACE".to_owned(), WORKSPACE.to_owned());
    let path = variables.get("PATH").map_or("", String::as_str);
    let path = format!("{INSIDE}/bin:{path}");
    variables.insert("PATH".to_owned(), path);
    variables
}

impl Inner {
    fn discover(&self) -> Result<HostBase, Error> {
        let owner = self.engine.layer_owner();
        let base = HostBase::discover(&self.host, &self.folder.join("base"), owner)?;
        match self.engine.report().level {
            IsolationLevel::Namespaces => Ok(base),
            IsolationLevel::Process => {
                crate::plain::base(base, &self.folder.join("process"), &self.plain.root())
            }
        }
    }

    async fn make(self: &Arc<Self>, request: Request, base: &Arc<HostBase>) -> Result<Live, Error> {
        let (inner, tools) = (Arc::clone(self), Arc::clone(base));
        let asked = request.clone();
        let (lower, scratch, run_folder) = blocking(move || inner.prepare(&asked, &tools)).await?;
        let places = self.places(&run_folder);
        // Plain processes have the network of the machine anyway, and no proxy can be shown to them alone.
        let is_proxied = request.network && places.is_none();
        let network = if is_proxied { Network::Proxied } else { Network::None };
        let spec = Spec {
            name: request.id.to_string(),
            lower,
            upper: scratch.upper(),
            work: scratch.work(),
            binds: self.binds(base, &run_folder),
            network,
            limits: request.limits,
        };
        let mut environment = sandbox_environment(base);
        if let Some(path) = request.files.changed_paths_path() {
            environment.insert("SANDGATE_CHANGED_PATHS".to_owned(), path);
        }
        if is_proxied {
            let proxy = sandgate_egress::environment();
            environment.extend(proxy.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let sandbox = self.engine.create(spec).await?;
        let layers = Arc::clone(&self.layers);
        let policy = Policy { private_ranges: request.private_ranges, ..Policy::default() };
        let files = Files { scratch, run_folder, layers, places };
        Live::new(sandbox, files, environment, request.limits, policy)
    }

    async fn remove_remains(&self, id: SandboxId) -> Result<(), Error> {
        let layers = Arc::clone(&self.layers);
        let run_folder = self.runs.join(id.to_string());
        let plain = self.plain.clone();
        blocking(move || {
            crate::plain::remove_remains(&plain, &id.to_string())?;
            layers.delete_scratch(id)?;
            remove_folder(&run_folder)
        })
        .await
    }

    fn prepare(
        &self,
        request: &Request,
        base: &HostBase,
    ) -> Result<(Vec<PathBuf>, crate::layers::Scratch, PathBuf), Error> {
        let mut lower = vec![base.skeleton.clone()];
        for id in &request.layers {
            let layer = self.layers.get_whole(*id)?.ok_or(Error::LayerMissing(*id))?;
            if layer.whole {
                lower.clear();
            }
            lower.push(layer.path);
        }
        let run_folder = self.runs.join(request.id.to_string());
        let places = self.places(&run_folder);
        let written = request.files.write(&run_folder, self.shell, places.as_ref());
        written.map_err(Error::io("write", &run_folder))?;
        let scratch = self.layers.new_scratch(request.id)?;
        Ok((lower, if places.is_some() { scratch.whole() } else { scratch }, run_folder))
    }

    /// Where things really are, if sandboxes have no names of their own for them.
    fn places(&self, run_folder: &Path) -> Option<Places> {
        match self.engine.report().level {
            IsolationLevel::Namespaces => None,
            IsolationLevel::Process => Some(Places::new(&self.plain.root(), run_folder)),
        }
    }

    fn binds(&self, base: &HostBase, run_folder: &Path) -> Vec<Bind> {
        if self.engine.report().level == IsolationLevel::Process {
            return Vec::new();
        }
        let host = base.binds.iter();
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
    for path in [&runs, &probes, &folder.join("process")] {
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
