//! One step from claim to result: sandbox, scripts, reports, and what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{
    Entry, IsolationLevel, LayerId, LayerKind, NetworkAccess, Resources, SnapshotId, SnapshotKind,
    Timestamp, TrustTier,
};
use sandgate_engine::GateName;
use sandgate_engine::config::Network;
use sandgate_engine::plan::{PlannedGate, PlannedSetup};
use sandgate_engine::run::Outcome;
use sandgate_integration_agent::{Assignment, StepReport, Task};
use sandgate_node::{Layer, RunFiles, SealRule};
use sandgate_provider_gateway::{Held, SandboxWanted};
use sandgate_snapshot_service::{LayerTurn, LayerWanted, SnapshotDraft};

use crate::error::Error;
use crate::findings::Findings;
use crate::prepare::{self, Prepared};
use crate::runner::Runner;
use crate::scripts::{Ran, Scripts};

/// Where the checkout is inside a sandbox.
const WORKSPACE: &str = "/workspace";

/// What is run, for a setup and a gate alike.
struct Work<'a> {
    scripts: &'a [String],
    directory: String,
    environment: BTreeMap<String, String>,
    network: Network,
    resources: Resources,
    timeout: Duration,
    /// Whether private ranges are reachable too, where there is a network.
    private_ranges: bool,
}

/// How a setup ended.
struct SetupEnded {
    outcome: Outcome,
    started_at: Option<Timestamp>,
    note: Option<String>,
}

impl Runner {
    /// Executes a claimed step.
    pub(crate) async fn execute(&self, assignment: &Assignment) -> Result<StepReport, Error> {
        let prepared = self.prepared(assignment).await?;
        match &assignment.task {
            Task::Setup(setup) => self.execute_setup(assignment, &prepared, setup).await,
            Task::Gate(gate) => self.execute_gate(assignment, &prepared, gate).await,
        }
    }

    async fn execute_setup(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        setup: &PlannedSetup,
    ) -> Result<StepReport, Error> {
        let node = self.parts.gateway.node();
        let snapshots = &self.parts.snapshots;
        let own = prepared.setup.as_ref().ok_or(Error::NotPrepared)?;
        let turn = tokio::select! {
            turn = prepare::turn(node, snapshots, &own.wanted) => turn?,
            () = assignment.cancelled.cancelled() => {
                let reason = "stopped".to_owned();
                return Ok(self.report(assignment, Outcome::Cancelled { reason }));
            }
        };
        let (layer, fence) = match turn {
            LayerTurn::Ready(_) => {
                let note = Some("its layer was there already".to_owned());
                return Ok(StepReport { note, ..self.report(assignment, Outcome::Exited(0)) });
            }
            LayerTurn::Build { layer, fence } => (layer, fence),
        };
        let built = tokio::select! {
            built = self.build_setup(assignment, prepared, setup, layer) => built,
            () = snapshots.keep_building(layer, fence) => Err(Error::SetupGone),
        };
        match built {
            Ok((ran, Some(sealed))) => {
                prepare::finish(node, snapshots, &sealed, fence).await?;
                let started_at = ran.started_at;
                Ok(StepReport { started_at, ..self.report(assignment, ran.outcome) })
            }
            Ok((ran, None)) => {
                snapshots.abandon_layer(layer, fence).await?;
                let (started_at, note) = (ran.started_at, ran.note);
                Ok(StepReport { started_at, note, ..self.report(assignment, ran.outcome) })
            }
            Err(error) => {
                snapshots.abandon_layer(layer, fence).await?;
                Err(error)
            }
        }
    }

    async fn build_setup(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        setup: &PlannedSetup,
        layer: LayerId,
    ) -> Result<(SetupEnded, Option<Layer>), Error> {
        let own = prepared.setup.as_ref().ok_or(Error::NotPrepared)?;
        let inputs = own.inputs_layer(self.parts.gateway.node(), &self.parts.snapshots).await?;
        let work = Work {
            scripts: &setup.run,
            directory: WORKSPACE.to_owned(),
            environment: assignment.plan.environment.env.clone(),
            network: setup.network,
            resources: setup.resources,
            timeout: setup.timeout,
            // Registries of companies live there; a setup of strangers does not get to see them.
            private_ranges: assignment.source.is_none(),
        };
        let (held, ran) = self.run_in_sandbox(assignment, prepared, &work, vec![inputs]).await?;
        if ran.outcome != Outcome::Exited(0) {
            let findings = Findings::of_output(ran.output);
            let note = findings.note(&held.live, &ran.outcome, setup.network);
            self.parts.gateway.destroy(held).await?;
            let ended = SetupEnded { outcome: ran.outcome, started_at: ran.started_at, note };
            return Ok((ended, None));
        }
        let sealed = self.parts.gateway.seal(held, layer, SealRule::Setup).await?;
        let ended = SetupEnded { outcome: ran.outcome, started_at: ran.started_at, note: None };
        Ok((ended, Some(sealed)))
    }

    async fn execute_gate(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        gate: &PlannedGate,
    ) -> Result<StepReport, Error> {
        let mut layers = self.environment(prepared).await?;
        layers.push(prepared.source);
        layers.extend(&assignment.from_layers);
        let directory = match &gate.dir {
            Some(dir) => format!("{WORKSPACE}/{dir}"),
            None => WORKSPACE.to_owned(),
        };
        let work = Work {
            scripts: &gate.run,
            directory,
            environment: gate_environment(gate, prepared),
            network: gate.network,
            resources: gate.resources,
            timeout: gate.timeout,
            private_ranges: false,
        };
        let (held, mut ran) =
            self.run_in_sandbox(assignment, prepared, &work, layers.clone()).await?;
        let ended_at = self.parts.clock.now();
        held.live.kill_processes().await;
        if ran.outcome == Outcome::Exited(0) {
            match held.live.overstepped(gate.resources).await {
                Ok(None) => {}
                Ok(Some(limit)) => {
                    ran.outcome = Outcome::LimitBroken { limit: limit.to_string() };
                }
                Err(error) => {
                    self.parts.gateway.destroy(held).await?;
                    return Err(error.into());
                }
            }
        }
        let findings = self.findings(&held.live, gate, ran.output).await;
        let note = findings.note(&held.live, &ran.outcome, gate.network);
        let passed = ran.outcome == Outcome::Exited(0);
        let entry = entry(&work, &held, self.parts.gateway.node().level());
        let is_wanted = !assignment.cancelled.is_cancelled();
        let layer = if passed && assignment.keep_files || !passed && is_wanted {
            Some(self.keep(held, assignment.tier).await?)
        } else {
            self.parts.gateway.destroy(held).await?;
            None
        };
        let snapshot = match &layer {
            Some(layer) if !passed => {
                Some(self.debug_snapshot(assignment, gate, &layers, layer, entry).await?)
            }
            _ => None,
        };
        Ok(StepReport {
            started_at: ran.started_at,
            ended_at,
            reports: findings.json(),
            note,
            layer: layer.map(|layer| layer.id).filter(|_| passed),
            snapshot,
            ..self.report(assignment, ran.outcome)
        })
    }

    /// The layers of the environment, the lowest first.
    async fn environment(&self, prepared: &Prepared) -> Result<Vec<LayerId>, Error> {
        let Some(setup) = &prepared.setup else { return Ok(Vec::new()) };
        let found = self.parts.snapshots.find_layer(&setup.wanted).await?;
        Ok(vec![found.ok_or(Error::SetupGone)?])
    }

    async fn run_in_sandbox(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        work: &Work<'_>,
        layers: Vec<LayerId>,
    ) -> Result<(Held, Ran), Error> {
        let wanted = SandboxWanted {
            run: Some(assignment.run.id),
            step: Some(assignment.step),
            layers,
            network: work.network == Network::Full,
            private_ranges: work.private_ranges,
            limits: work.resources,
            files: RunFiles {
                scripts: work.scripts.to_vec(),
                directory: work.directory.clone(),
                changed_paths: prepared.changed_paths.clone(),
            },
        };
        let held = self.parts.gateway.create(wanted).await?;
        let scripts = Scripts {
            count: work.scripts.len(),
            shell: self.parts.gateway.node().shell(),
            directory: &work.directory,
            environment: work.environment.clone().into_iter().collect(),
            timeout: work.timeout,
        };
        let clock = &*self.parts.clock;
        let ran = scripts.run(&held.live, &self.parts.agent, assignment, clock).await;
        match ran {
            Ok(ran) => Ok((held, ran)),
            Err(error) => {
                self.parts.gateway.destroy(held).await?;
                Err(error)
            }
        }
    }

    /// Turns what a sandbox wrote into a layer of its own.
    async fn keep(&self, held: Held, tier: TrustTier) -> Result<Layer, Error> {
        let node = self.parts.gateway.node();
        let snapshots = &self.parts.snapshots;
        let wanted = LayerWanted {
            kind: LayerKind::Gate,
            key: None,
            tier,
            base_fingerprint: node.base().fingerprint.clone(),
        };
        let LayerTurn::Build { layer, fence } = snapshots.take_turn(&wanted).await? else {
            return Err(Error::NotPrepared);
        };
        let sealing = async {
            let sealed = self.parts.gateway.seal(held, layer, SealRule::Gate).await?;
            prepare::finish(node, snapshots, &sealed, fence).await?;
            Ok(sealed)
        };
        let sealed = tokio::select! {
            sealed = sealing => sealed,
            () = snapshots.keep_building(layer, fence) => Err(Error::NotPrepared),
        };
        if sealed.is_err() {
            snapshots.abandon_layer(layer, fence).await?;
        }
        sealed
    }

    /// A snapshot is for later: what it stands on outlasts a restart of the machine.
    async fn persist(&self, layers: &[LayerId]) -> Result<(), Error> {
        let store = Arc::clone(self.parts.gateway.node().layers());
        let layers = layers.to_vec();
        Ok(sandgate_node::blocking(move || store.persist(&layers)).await?)
    }

    async fn debug_snapshot(
        &self,
        assignment: &Assignment,
        gate: &PlannedGate,
        below: &[LayerId],
        layer: &Layer,
        entry: Entry,
    ) -> Result<SnapshotId, Error> {
        let layers: Vec<LayerId> = below.iter().copied().chain([layer.id]).collect();
        let bytes = layer.bytes;
        self.persist(&layers).await?;
        let draft = SnapshotDraft {
            repository_key: assignment.run.repository_key.clone(),
            run: assignment.run.id,
            gate: Some(gate.name.to_string()),
            kind: SnapshotKind::Debug,
            layers,
            bytes,
            base_fingerprint: self.parts.gateway.node().base().fingerprint.clone(),
            entry,
            keep: gate.debug_keep,
        };
        Ok(self.parts.snapshots.record(draft).await?)
    }

    /// The snapshot of what passed: environment, commit, and the files of `approve_from`.
    pub(crate) async fn approve(&self, assignment: &Assignment) -> Result<(), Error> {
        let run = assignment.run.id;
        let gate = assignment.plan.approve_from.as_ref().map(GateName::as_str);
        let (kept, is_whole) = self.parts.agent.kept(run, gate).await?;
        if !is_whole {
            return Ok(());
        }
        let prepared = self.prepared(assignment).await?;
        let mut layers = self.environment(&prepared).await?;
        layers.push(prepared.source);
        layers.extend(kept);
        let node = self.parts.gateway.node();
        self.persist(&layers).await?;
        let mut bytes = 0;
        for layer in &layers {
            bytes += node.layers().get(*layer)?.map_or(0, |layer| layer.bytes);
        }
        let mut environment = node.sandbox_environment();
        environment.extend(assignment.plan.environment.env.clone());
        let draft = SnapshotDraft {
            repository_key: assignment.run.repository_key.clone(),
            run,
            gate: None,
            kind: SnapshotKind::Approved,
            layers,
            bytes,
            base_fingerprint: node.base().fingerprint.clone(),
            entry: Entry {
                environment,
                directory: WORKSPACE.to_owned(),
                commands: Vec::new(),
                resources: Resources::default(),
                network: NetworkAccess::None,
                isolation: node.level(),
            },
            keep: None,
        };
        let snapshot = self.parts.snapshots.record(draft).await?;
        self.parts.agent.approve(run, snapshot).await?;
        Ok(())
    }

    fn report(&self, assignment: &Assignment, outcome: Outcome) -> StepReport {
        StepReport {
            step: assignment.step,
            fence: assignment.fence,
            outcome,
            started_at: None,
            ended_at: self.parts.clock.now(),
            reports: None,
            note: None,
            layer: None,
            snapshot: None,
        }
    }
}

/// The variables of a gate: those of the configuration, and where it stands in history.
fn gate_environment(gate: &PlannedGate, prepared: &Prepared) -> BTreeMap<String, String> {
    let mut variables = gate.env.clone();
    variables.insert("SANDGATE_HEAD_SHA".to_owned(), prepared.head.as_str().to_owned());
    if let Some(base) = &prepared.base {
        variables.insert("SANDGATE_BASE_SHA".to_owned(), base.as_str().to_owned());
    }
    if let Some(branch) = &prepared.branch {
        variables.insert("SANDGATE_BRANCH".to_owned(), branch.clone());
    }
    variables
}

/// What a shell needs to stand where the scripts stood.
fn entry(work: &Work<'_>, held: &Held, isolation: IsolationLevel) -> Entry {
    let mut environment = held.live.environment().clone();
    environment.extend(work.environment.clone());
    Entry {
        environment,
        directory: work.directory.clone(),
        commands: work.scripts.to_vec(),
        resources: work.resources,
        network: match work.network {
            Network::None => NetworkAccess::None,
            Network::Full => NetworkAccess::Full,
        },
        isolation,
    }
}
