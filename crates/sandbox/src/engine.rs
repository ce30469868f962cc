//! The engine: finds out once what this machine can do, then makes sandboxes.

mod plain;
mod probe;
mod spawn;

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use sandgate_domain::IsolationLevel;
use tokio::sync::Semaphore;

use crate::cgroup::{Cgroups, Controller, CpuLimit, Group};
use crate::plain::PlainHold;
use crate::report::{Mode, Report};
use crate::sandbox::{Launched, Sandbox};
use crate::spec::{EngineConfig, Network, Spec};
use crate::watch::{Measure, Quota};
use crate::wire::{BindRequest, Event, IdMap, Launch, Request};
use crate::{Error, GATE_ID};
use spawn::{Inner, setup_error};

/// The owner that files of layers have on disk in root mode.
pub const LAYER_OWNER: (u32, u32) = (GATE_ID, GATE_ID);

/// Starts in flight for each processor; more only queue in the kernel.
const STARTS_PER_PROCESSOR: usize = 4;

/// Makes sandboxes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    report: Arc<Report>,
}

#[derive(Debug)]
struct Shared {
    config: EngineConfig,
    id_map: IdMap,
    /// On a mount of its own that cannot be written through. Missing if no sandbox can be made.
    program: Option<OwnedFd>,
    id_map_fd: Option<OwnedFd>,
    cgroups: Cgroups,
    starts: Semaphore,
    /// One sandbox of the process level at a time.
    plain_turn: Arc<Semaphore>,
    hold: Mutex<Option<PlainHold>>,
}

impl Engine {
    /// Tries everything once: each namespace, a whole sandbox, each limit. What is missing is in the report; an error
    /// means that the probe itself could not be made.
    pub async fn probe(config: EngineConfig) -> Result<Self, Error> {
        probe::probe(config).await
    }

    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Root mode: the user and group that files of layers must have on disk. User mode and process level: none, they are
    /// the caller's.
    pub fn layer_owner(&self) -> Option<(u32, u32)> {
        let is_mapped =
            self.report.mode == Mode::Root && self.report.level == IsolationLevel::Namespaces;
        is_mapped.then_some(LAYER_OWNER)
    }

    /// Makes a sandbox. Nothing of the author's runs before the first [`Sandbox::exec`].
    pub async fn create(&self, spec: Spec) -> Result<Sandbox, Error> {
        if let Some(obstacle) = self.report.first_obstacle() {
            return Err(Error::Unsupported {
                what: format!("a sandbox ({})", obstacle.name),
                reason: obstacle.reason.clone(),
                instead: obstacle.instead.clone(),
            });
        }
        match self.report.level {
            IsolationLevel::Namespaces => self.shared.create(spec, false).await,
            IsolationLevel::Process => self.create_plain(spec).await,
        }
    }
}

impl Shared {
    fn new(config: EngineConfig, id_map: IdMap, cgroups: Cgroups) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let starts = Semaphore::new(processors * STARTS_PER_PROCESSOR);
        let plain_turn = Arc::new(Semaphore::new(1));
        let hold = Mutex::new(None);
        Self { config, id_map, program: None, id_map_fd: None, cgroups, starts, plain_turn, hold }
    }

    async fn create(self: &Arc<Self>, spec: Spec, probe: bool) -> Result<Sandbox, Error> {
        spec.validate()?;
        let Ok(_turn) = self.starts.acquire().await else {
            return Err(Error::invalid("engine", "is closed"));
        };
        let shared = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || {
            let begun = shared.begin(&spec, probe);
            begun.map(|(inner, group)| (spec, inner, group))
        });
        let (spec, mut inner, group) =
            started.await.map_err(|error| Error::host("could not start")(error.into()))??;
        match inner.listen().await {
            Ok((Event::Ready, fds)) => {
                let listener = listener(fds)?;
                let quota =
                    Quota { bytes: spec.limits.disk_bytes, inodes: spec.limits.disk_inodes };
                Ok(Sandbox::attend(Launched {
                    name: spec.name,
                    socket: inner.socket,
                    launcher: inner.launcher,
                    group,
                    files: spec.upper,
                    work: spec.work,
                    quota,
                    composed: Measure::default(),
                    listener,
                    plain: None,
                }))
            }
            Ok((Event::Failed { step, errno }, _)) => {
                inner.end_sandbox(&spec, group).await;
                Err(setup_error(step, errno, self.id_map))
            }
            Ok(_) => {
                inner.end_sandbox(&spec, group).await;
                Err(setup_error("understand pid 1".to_owned(), libc::EBADMSG, self.id_map))
            }
            Err(error) => {
                inner.end_sandbox(&spec, group).await;
                Err(error)
            }
        }
    }

    /// Makes the groups, starts the launcher and tells it what to build.
    fn begin(&self, spec: &Spec, probe: bool) -> Result<(Inner, Group), Error> {
        let cpu = if probe { CpuLimit::Later } else { CpuLimit::AtOnce };
        let group = self
            .cgroups
            .create(&spec.name, &spec.limits, cpu)
            .map_err(Error::host("could not make the cgroups of a sandbox"))?;
        let launch = self.launch(spec, &group, probe);
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        fds.extend(self.id_map_fd.iter().map(AsFd::as_fd));
        fds.extend(group.into.iter().map(AsFd::as_fd));
        let request = Request::Launch(Box::new(launch));
        match Inner::start(&spawn::program(self.program.as_ref(), &self.config), &request, &fds) {
            Ok(inner) => Ok((inner, group)),
            Err(error) => {
                let mut group = group;
                // Nothing is in it yet.
                group.try_remove().ok();
                Err(error)
            }
        }
    }

    fn launch(&self, spec: &Spec, group: &Group, probe: bool) -> Launch {
        let binds = spec.binds.iter().map(|bind| BindRequest {
            source: bind.source.clone(),
            target: bind.target.clone(),
            writable: bind.writable,
        });
        let pids_counted = self.cgroups.has(Controller::Pids);
        Launch {
            id_map: self.id_map,
            hostname: spec.name.clone().into(),
            stage: self.config.state_dir.clone(),
            lower: spec.lower.clone(),
            upper: spec.upper.clone(),
            work: spec.work.clone(),
            binds: binds.collect(),
            proxied: spec.network == Network::Proxied,
            cgroup_files: group.task_files.clone(),
            has_cgroup: group.into.is_some(),
            // What is in them is memory too and counts there; half, so that a full /tmp is an error before it is a kill.
            tmp_bytes: (spec.limits.memory_bytes / 2).min(spec.limits.disk_bytes),
            tmp_inodes: spec.limits.disk_inodes,
            file_bytes: spec.limits.disk_bytes,
            process_limit: (!pids_counted).then_some(spec.limits.pids + 1),
            probe,
        }
    }
}

fn listener(fds: Vec<OwnedFd>) -> Result<Option<TcpListener>, Error> {
    let Some(fd) = fds.into_iter().next() else { return Ok(None) };
    let listener = TcpListener::from(fd);
    listener
        .set_nonblocking(true)
        .map_err(Error::host("could not use the proxy listener of a sandbox"))?;
    Ok(Some(listener))
}
