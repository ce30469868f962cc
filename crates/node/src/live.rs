//! One sandbox that exists now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sandgate_domain::{LayerId, Resources};
use sandgate_egress::{Incident, Policy, Proxy};
use sandgate_sandbox::{Command, Limit, Process, Sandbox, Usage};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::layers::{Layer, LayerStore, Scratch, SealRule};
use crate::node::{blocking, remove_folder};
use crate::places::Places;
use crate::reports::{Found, ReadLimits, read_files};

/// A living sandbox. Dropping it kills everything inside; [`Live::seal`] or [`Live::destroy`] also tidies up.
pub struct Live {
    sandbox: Sandbox,
    files: Files,
    environment: BTreeMap<String, String>,
    limits: Resources,
    proxy: Option<Proxy>,
    stop_proxy: CancellationToken,
}

/// What a sandbox has on disk.
pub(crate) struct Files {
    pub scratch: Scratch,
    pub run_folder: PathBuf,
    pub layers: Arc<LayerStore>,
    /// At the process level.
    pub places: Option<Places>,
}

impl Live {
    pub(crate) fn new(
        mut sandbox: Sandbox,
        files: Files,
        environment: BTreeMap<String, String>,
        limits: Resources,
        policy: Policy,
    ) -> Result<Self, Error> {
        let stop_proxy = CancellationToken::new();
        let proxy = sandbox
            .take_proxy_listener()
            .map(|listener| sandgate_egress::serve(listener, policy, stop_proxy.clone()))
            .transpose()?;
        Ok(Self { sandbox, files, environment, limits, proxy, stop_proxy })
    }

    /// The variables that every command gets.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Where its folders really are, by what sandboxes call them; empty if they are there.
    pub fn places(&self) -> BTreeMap<String, String> {
        self.files.places.as_ref().map(Places::by_name).unwrap_or_default()
    }

    /// Starts a command. Its paths are those that every sandbox has, also where they are elsewhere.
    ///
    /// # Errors
    /// If it can't be started; nothing ran then.
    pub async fn start(&self, command: Command) -> Result<Process, Error> {
        let command = match &self.files.places {
            None => command,
            Some(places) => places.command(command),
        };
        Ok(self.sandbox.exec(command).await?)
    }

    /// Kills every process inside and waits for their end; the sandbox itself stays.
    pub async fn kill_processes(&self) {
        self.sandbox.kill_processes().await;
    }

    /// The limit that was broken, if one was.
    pub fn broken_limit(&self) -> Option<Limit> {
        self.sandbox.broken_limit()
    }

    /// Whether what was written is over a limit by now. While a sandbox runs its disk is looked at from time to time, the
    /// more rarely the more there is; this looks once more if that is worth it. Nothing inside may be running any more.
    ///
    /// # Errors
    /// If what was written can't be looked at.
    pub async fn overstepped(&self) -> Result<Option<Limit>, Error> {
        let limits = self.limits;
        let seen = self.sandbox.usage();
        let is_near = |seen: Option<u64>, limit: u64| seen.is_none_or(|seen| seen >= limit / 4);
        let is_worth_it = is_near(seen.disk_bytes, limits.disk_bytes)
            || is_near(seen.disk_inodes, limits.disk_inodes);
        if !is_worth_it {
            return Ok(None);
        }
        let files = self.sandbox.files().to_owned();
        let used = blocking(move || crate::layers::usage(&files)).await?;
        let (bytes, inodes) = self.sandbox.composed();
        Ok(if used.disk_bytes > limits.disk_bytes.saturating_add(bytes) {
            Some(Limit::DiskBytes)
        } else if used.files > limits.disk_inodes.saturating_add(inodes) {
            Some(Limit::DiskInodes)
        } else {
            None
        })
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        self.sandbox.usage()
    }

    /// Connections that the proxy refused or could not make.
    pub fn incidents(&self) -> Vec<Incident> {
        self.proxy.as_ref().map(Proxy::incidents).unwrap_or_default()
    }

    /// Files that were written below `/workspace`, by glob; bounded.
    ///
    /// # Errors
    /// If the folder itself can't be read. A file that can't be is in the answer with its reason.
    pub async fn read_files(
        &self,
        patterns: Vec<String>,
        limits: ReadLimits,
    ) -> Result<Found, Error> {
        let workspace = self.sandbox.files().join("workspace");
        blocking(move || read_files(&workspace, &patterns, limits)).await
    }

    /// Stops everything inside and turns what was written into a layer.
    ///
    /// # Errors
    /// If the files can't be moved into the store.
    pub async fn seal(self, id: LayerId, rule: SealRule) -> Result<Layer, Error> {
        let Self { sandbox, files, stop_proxy, .. } = self;
        let Files { scratch, run_folder, layers, .. } = files;
        stop_proxy.cancel();
        sandbox.destroy().await?;
        blocking(move || {
            let layer = layers.seal(&scratch, rule, id)?;
            remove_folder(&run_folder)?;
            Ok(layer)
        })
        .await
    }

    /// Stops everything inside and removes what was written.
    ///
    /// # Errors
    /// If something of it can't be removed.
    pub async fn destroy(self) -> Result<(), Error> {
        let Self { sandbox, files, stop_proxy, .. } = self;
        let Files { scratch, run_folder, layers, .. } = files;
        stop_proxy.cancel();
        sandbox.destroy().await?;
        blocking(move || {
            layers.delete_scratch(scratch.sandbox())?;
            remove_folder(&run_folder)
        })
        .await
    }
}
