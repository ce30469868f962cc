//! One step from claim to result: sandbox, scripts, reports, and what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandgate_domain::{
    Entry, IsolationLevel, LayerId, LayerKind, NetworkAccess, Resources, SnapshotId, SnapshotKind,
    Timestamp, TrustTier,
};
use sandgate_engine::config::Network;
use sandgate_engine::plan::{PlannedGate, PlannedSetup};
use sandgate_engine::run::Outcome;
use sandgate_wire::node::v1 as node;
use sandgate_wire::required_field;
use sandgate_wire::snapshots::v1::{ListSnapshotsRequest, RecordRequest};

use crate::assignment::{Assignment, StepReport, Task};
use crate::error::Error;
use crate::findings::Findings;
use crate::held::Held;
use crate::prepare::Prepared;
use crate::runner::{Runner, unless_cancelled};
use crate::scripts::{Ran, Scripts, stopped};
use crate::services::{Build, LayerWanted, Turn};

/// Where the checkout is inside a sandbox.
const WORKSPACE: &str = "/workspace";
/// The state of a snapshot that is no more.
const DELETED: &str = "deleted";

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
        if let Task::Close = &assignment.task {
            return self.execute_close(assignment).await;
        }
        let Some(prepared) = self.prepared(assignment).await? else {
            return Ok(self.report(stopped()));
        };
        match &assignment.task {
            Task::Setup(setup) => self.execute_setup(assignment, &prepared, setup).await,
            Task::Gate(gate) => self.execute_gate(assignment, &prepared, gate).await,
            Task::Close => Err(Error::NotPrepared),
        }
    }

    async fn execute_setup(
        &self,
        assignment: &Assignment,
        prepared: &Arc<Prepared>,
        setup: &PlannedSetup,
    ) -> Result<StepReport, Error> {
        let own = prepared.setup.as_ref().ok_or(Error::NotPrepared)?;
        let turn = tokio::select! {
            turn = self.services.turn(own) => turn?,
            () = assignment.cancelled.cancelled() => {
                return Ok(self.report(stopped()));
            }
        };
        let build = match turn {
            Turn::Ready(_) => {
                let note = Some("its layer was there already".to_owned());
                return Ok(StepReport { note, ..self.report(Outcome::Exited(0)) });
            }
            Turn::Build(build) => build,
        };
        let building = self.build_setup(assignment, prepared, setup, build.layer);
        let ended = self.services.build(build, building).await?;
        let (started_at, note) = (ended.started_at, ended.note);
        Ok(StepReport { started_at, note, ..self.report(ended.outcome) })
    }

    async fn build_setup(
        &self,
        assignment: &Assignment,
        prepared: &Arc<Prepared>,
        setup: &PlannedSetup,
        layer: LayerId,
    ) -> Result<(SetupEnded, Option<node::LayerContent>), Error> {
        let building = {
            let (prepared, services) = (Arc::clone(prepared), self.services.clone());
            async move { prepared.inputs_layer(&services).await }
        };
        let Some(inputs) = unless_cancelled(assignment, building).await? else {
            let ended = SetupEnded { outcome: stopped(), started_at: None, note: None };
            return Ok((ended, None));
        };
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
        if ran.outcome == Outcome::Exited(0) {
            let sealed = held.seal(layer, node::SealRule::Setup).await?;
            sandgate_domain::fail_point::reached("setup.sealed");
            let ended = SetupEnded { outcome: ran.outcome, started_at: ran.started_at, note: None };
            return Ok((ended, Some(sealed)));
        }
        let findings = Findings::of_output(ran.output);
        let incidents = held.inspect().await?.incidents;
        let note = findings.note(&incidents, &ran.outcome, setup.network);
        held.destroy().await?;
        Ok((SetupEnded { outcome: ran.outcome, started_at: ran.started_at, note }, None))
    }

    async fn execute_gate(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        gate: &PlannedGate,
    ) -> Result<StepReport, Error> {
        let mut stood_on = self.environment(prepared).await?;
        stood_on.push(prepared.source);
        let layers = [stood_on.clone(), assignment.from_layers.clone()].concat();
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
        held.kill().await?;
        sandgate_domain::fail_point::reached("scripts.ended");
        let inspected = held.inspect().await?;
        if let (Outcome::Exited(0), Some(limit)) = (&ran.outcome, inspected.broken_limit) {
            ran.outcome = Outcome::LimitBroken { limit };
        }
        let findings = self.findings(&held, gate, ran.output).await;
        let note = findings.note(&inspected.incidents, &ran.outcome, gate.network);
        let passed = ran.outcome == Outcome::Exited(0);
        let entry = entry(&work, &held, self.services.isolation().await?);
        let is_wanted = !assignment.cancelled.is_cancelled();
        let layer = if passed && assignment.keep_files || !passed && is_wanted {
            Some(self.keep(held, assignment.tier).await?)
        } else {
            held.destroy().await?;
            None
        };
        let snapshot = match &layer {
            Some(layer) if !passed => {
                Some(self.debug_snapshot(assignment, gate, &layers, *layer, entry).await?)
            }
            _ => None,
        };
        Ok(StepReport {
            started_at: ran.started_at,
            ended_at,
            reports: findings.json(),
            note,
            layer: layer.filter(|_| passed),
            snapshot,
            stood_on,
            ..self.report(ran.outcome)
        })
    }

    /// The layers of the environment, the lowest first.
    async fn environment(&self, prepared: &Prepared) -> Result<Vec<LayerId>, Error> {
        let Some(setup) = &prepared.setup else { return Ok(Vec::new()) };
        let found = self.services.find_layer(setup).await?;
        Ok(vec![found.ok_or(Error::SetupGone)?])
    }

    async fn run_in_sandbox(
        &self,
        assignment: &Assignment,
        prepared: &Prepared,
        work: &Work<'_>,
        layers: Vec<LayerId>,
    ) -> Result<(Held, Ran), Error> {
        let changed_paths = prepared.changed_paths.clone();
        let spec = node::SandboxSpec {
            layers: layers.iter().map(ToString::to_string).collect(),
            network: work.network == Network::Full,
            private_ranges: work.private_ranges,
            limits: Some(work.resources.into()),
            scripts: work.scripts.to_vec(),
            directory: work.directory.clone(),
            changed_paths: changed_paths.map(|paths| node::Paths { paths }),
        };
        let held = Held::create(&self.services, &assignment.lease, spec).await?;
        let scripts = Scripts {
            count: work.scripts.len(),
            shell: &self.services.facts().await?.shell,
            directory: &work.directory,
            environment: work.environment.clone().into_iter().collect(),
            timeout: work.timeout,
        };
        let clock = &*self.parts.clock;
        let ran = scripts.run(&held, assignment, clock).await?;
        Ok((held, ran))
    }

    /// Turns what a sandbox wrote into a layer of its own.
    async fn keep(&self, held: Held, tier: TrustTier) -> Result<LayerId, Error> {
        let base_fingerprint = self.services.facts().await?.base_fingerprint.clone();
        let wanted = LayerWanted { kind: LayerKind::Gate, key: None, tier, base_fingerprint };
        let Turn::Build(build @ Build { layer, .. }) = self.services.turn(&wanted).await? else {
            return Err(Error::NotPrepared);
        };
        let sealing = async {
            let sealed = held.seal(layer, node::SealRule::Gate).await?;
            Ok(((), Some(sealed)))
        };
        self.services.build(build, sealing).await?;
        Ok(layer)
    }

    /// A snapshot is for later: what it stands on outlasts a restart of the machine. What its layers hold, in bytes.
    async fn persist(&self, layers: &[LayerId]) -> Result<u64, Error> {
        let layers = layers.iter().map(ToString::to_string).collect();
        let request = node::PersistLayersRequest { layers };
        Ok(self.services.node.clone().persist_layers(request).await?.into_inner().bytes)
    }

    async fn record(
        &self,
        assignment: &Assignment,
        gate: Option<&PlannedGate>,
        kind: SnapshotKind,
        layers: &[LayerId],
        entry: &Entry,
    ) -> Result<SnapshotId, Error> {
        let bytes = self.persist(layers).await?;
        let keep = gate.and_then(|gate| gate.debug_keep);
        let request = RecordRequest {
            repository: assignment.run.repository_key.clone(),
            run: assignment.run.id.to_string(),
            gate: gate.map(|gate| gate.name.to_string()),
            kind: kind.to_string(),
            layers: layers.iter().map(ToString::to_string).collect(),
            bytes,
            base_fingerprint: self.services.facts().await?.base_fingerprint.clone(),
            entry: serde_json::to_string(entry)?,
            keep_ms: keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)),
        };
        let snapshot = self.services.snapshots.clone().record(request).await?.into_inner();
        Ok(required_field("id", &snapshot.id)?)
    }

    async fn debug_snapshot(
        &self,
        assignment: &Assignment,
        gate: &PlannedGate,
        below: &[LayerId],
        layer: LayerId,
        entry: Entry,
    ) -> Result<SnapshotId, Error> {
        let layers: Vec<LayerId> = below.iter().copied().chain([layer]).collect();
        let snapshot =
            self.record(assignment, Some(gate), SnapshotKind::Debug, &layers, &entry).await?;
        sandgate_domain::fail_point::reached("debug.recorded");
        Ok(snapshot)
    }

    /// Keeps the snapshot of what passed: environment, commit, and the files of `approve_from`.
    async fn execute_close(&self, assignment: &Assignment) -> Result<StepReport, Error> {
        // A runner that was lost after it had made the snapshot has not told.
        let run = Some(assignment.run.id.to_string());
        let request = ListSnapshotsRequest { run, ..ListSnapshotsRequest::default() };
        let made = self.services.snapshots.clone().list(request).await?.into_inner().snapshots;
        let made = made.iter().find(|snapshot| {
            snapshot.kind == SnapshotKind::Approved.as_str() && snapshot.state != DELETED
        });
        let snapshot = match made {
            Some(snapshot) => required_field("id", &snapshot.id)?,
            None => self.approve(assignment).await?,
        };
        Ok(StepReport { snapshot: Some(snapshot), ..self.report(Outcome::Exited(0)) })
    }

    async fn approve(&self, assignment: &Assignment) -> Result<SnapshotId, Error> {
        let layers = &assignment.from_layers;
        let facts = self.services.facts().await?;
        let mut environment: BTreeMap<String, String> =
            facts.environment.clone().into_iter().collect();
        environment.extend(assignment.plan.environment.env.clone());
        let entry = Entry {
            environment,
            directory: WORKSPACE.to_owned(),
            commands: Vec::new(),
            resources: Resources::default(),
            network: NetworkAccess::None,
            isolation: self.services.isolation().await?,
        };
        let kind = SnapshotKind::Approved;
        let snapshot = self.record(assignment, None, kind, layers, &entry).await?;
        sandgate_domain::fail_point::reached("approved.recorded");
        Ok(snapshot)
    }

    fn report(&self, outcome: Outcome) -> StepReport {
        StepReport::of(outcome, self.parts.clock.now())
    }
}

/// The variables of a gate: those of the configuration, and where it stands in history.
fn gate_environment(gate: &PlannedGate, prepared: &Prepared) -> BTreeMap<String, String> {
    let mut variables = gate.env.clone();
    variables.insert("SANDGATE_HEAD_SHA".to_owned(), prepared.head.clone());
    if let Some(base) = &prepared.base {
        variables.insert("SANDGATE_BASE_SHA".to_owned(), base.clone());
    }
    if let Some(branch) = &prepared.branch {
        variables.insert("SANDGATE_BRANCH".to_owned(), branch.clone());
    }
    variables
}

/// What a shell needs to stand where the scripts stood.
fn entry(work: &Work<'_>, held: &Held, isolation: IsolationLevel) -> Entry {
    let mut environment: BTreeMap<String, String> =
        held.environment().clone().into_iter().collect();
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
