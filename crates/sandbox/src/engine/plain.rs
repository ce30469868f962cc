//! Making a sandbox of the process level: the layers are copied, and the inner half starts in the copy.

use std::fs;
use std::io;
use std::sync::Arc;

use sandgate_domain::IsolationLevel;
use tokio::sync::OwnedSemaphorePermit;

use super::spawn::{self, Inner};
use super::{Engine, Shared};
use crate::Error;
use crate::cgroup::{Controller, CpuLimit, Group};
use crate::plain::{Place, PlainHold, copy_layers};
use crate::sandbox::{Launched, Plain, Sandbox};
use crate::spec::{Network, Spec};
use crate::watch::{Measure, Quota, measure};
use crate::wire::{Event, IdMap, PlainLaunch, Request};

const UNBOUNDED: Quota = Quota { bytes: u64::MAX, inodes: u64::MAX };

impl Engine {
    /// The process level: takes the folder of its sandboxes for this process, until the engine goes. [`Engine::create`] does
    /// so, too. Nothing to take at the level of namespaces.
    ///
    /// # Errors
    /// If another process has it.
    pub fn reserve(&self) -> Result<(), Error> {
        let Some(folder) = self.shared.config.plain.as_ref() else { return Ok(()) };
        if self.report.level == IsolationLevel::Namespaces {
            return Ok(());
        }
        let mut hold = self.shared.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if hold.is_some() {
            return Ok(());
        }
        let taken: Result<PlainHold, Option<u32>> =
            folder.hold().map_err(Error::host("could not lock the folder of plain sandboxes"))?;
        *hold = Some(taken.map_err(|holder| Error::Busy { holder })?);
        Ok(())
    }

    pub(super) async fn create_plain(&self, spec: Spec) -> Result<Sandbox, Error> {
        self.reserve()?;
        let turn = Arc::clone(&self.shared.plain_turn).acquire_owned().await;
        let turn = turn.map_err(|_| Error::invalid("engine", "is closed"))?;
        let Some(folder) = self.shared.config.plain.as_ref() else {
            return Err(Error::invalid("engine", "has no folder for plain sandboxes"));
        };
        let place = Place { root: folder.root(), upper: spec.upper.clone() };
        self.shared.start_plain(spec, place, Some(turn), false).await
    }
}

impl Shared {
    pub(super) async fn start_plain(
        self: &Arc<Self>,
        spec: Spec,
        place: Place,
        turn: Option<OwnedSemaphorePermit>,
        probe: bool,
    ) -> Result<Sandbox, Error> {
        spec.validate()?;
        refuse_what_needs_namespaces(&spec)?;
        let shared = Arc::clone(self);
        let begun = tokio::task::spawn_blocking(move || {
            let begun = shared.begin_plain(&spec, &place, probe);
            begun.map(|(inner, group, composed)| (spec, place, inner, group, composed))
        });
        let (spec, place, mut inner, group, composed) =
            begun.await.map_err(|error| Error::host("could not start")(error.into()))??;
        let failure = match inner.listen().await {
            Ok((Event::Ready, _)) => {
                let quota = Quota {
                    bytes: spec.limits.disk_bytes.saturating_add(composed.bytes),
                    inodes: spec.limits.disk_inodes.saturating_add(composed.inodes),
                };
                return Ok(Sandbox::attend(Launched {
                    name: spec.name,
                    socket: inner.socket,
                    launcher: inner.launcher,
                    group,
                    files: place.root.clone(),
                    work: spec.work,
                    quota,
                    composed,
                    listener: None,
                    plain: Some(Plain { place, _turn: turn }),
                }));
            }
            Ok((Event::Failed { step, errno }, _)) => {
                Error::Setup { step, source: io::Error::from_raw_os_error(errno) }
            }
            Ok(_) => Error::Setup {
                step: "understand the reaper".to_owned(),
                source: io::Error::from_raw_os_error(libc::EBADMSG),
            },
            Err(error) => error,
        };
        inner.end(&spec.name, group).await;
        place.leave().map_err(Error::host("could not move the files of a sandbox back"))?;
        Err(failure)
    }

    /// Puts the files in place, makes the groups and starts the inner half.
    fn begin_plain(
        &self,
        spec: &Spec,
        place: &Place,
        probe: bool,
    ) -> Result<(Inner, Group, Measure), Error> {
        let composed = compose_once(spec)?;
        let cpu = if probe { CpuLimit::Later } else { CpuLimit::AtOnce };
        let mut group = self
            .cgroups
            .create(&spec.name, &spec.limits, cpu)
            .map_err(Error::host("could not make the cgroups of a sandbox"))?;
        let started = place
            .enter()
            .map_err(Error::host(format!("could not move files to {}", place.root.display())))
            .and_then(|()| {
                let request = self.plain_launch(spec, place, &group, probe);
                let request = Request::LaunchPlain(Box::new(request));
                Inner::start(&spawn::program(None, &self.config), &request, &[]).inspect_err(|_| {
                    // The first error is the one to tell; what stays is removed by whoever makes the next one.
                    place.leave().ok();
                })
            });
        match started {
            Ok(inner) => Ok((inner, group, composed)),
            Err(error) => {
                // Nothing is in it yet.
                group.try_remove().ok();
                Err(error)
            }
        }
    }

    fn plain_launch(&self, spec: &Spec, place: &Place, group: &Group, probe: bool) -> PlainLaunch {
        let is_root = matches!(self.id_map, IdMap::Range) || rustix::process::geteuid().is_root();
        // The kernel counts no processes of root.
        let by_user = !self.cgroups.has(Controller::Pids) && !is_root;
        PlainLaunch {
            root: place.root.clone(),
            cgroup_files: group.entry_files(),
            file_bytes: spec.limits.disk_bytes,
            process_limit: by_user.then_some(spec.limits.pids),
            data_bytes: (!self.cgroups.has(Controller::Memory)).then_some(spec.limits.memory_bytes),
            host: std::process::id(),
            probe,
        }
    }
}

/// Copies the layers, unless this writable layer was used before: then they are in it.
fn compose_once(spec: &Spec) -> Result<Measure, Error> {
    let failed = || Error::host(format!("could not use {}", spec.upper.display()));
    let is_empty = fs::read_dir(&spec.upper).map_err(failed())?.next().is_none();
    if is_empty {
        copy_layers(&spec.lower, &spec.upper)?;
    }
    measure(&spec.upper, UNBOUNDED).map_err(failed())
}

fn refuse_what_needs_namespaces(spec: &Spec) -> Result<(), Error> {
    let unsupported = |what: String| Error::Unsupported {
        what,
        reason: "plain processes see the machine as it is".to_owned(),
        instead: "use a machine with namespaces".to_owned(),
    };
    if let Some(bind) = spec.binds.iter().find(|bind| bind.source != bind.target) {
        let what = format!("to show {} as {}", bind.source.display(), bind.target.display());
        return Err(unsupported(what));
    }
    match spec.network {
        Network::None => Ok(()),
        Network::Proxied => Err(unsupported("a network of the sandbox's own".to_owned())),
    }
}
