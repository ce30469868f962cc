//! A claimed step as a runner works with it, and what it reports: read from and written to the messages of the agent.

use std::path::PathBuf;
use std::sync::Arc;

use sandgate_domain::{LayerId, RunId, Share, SnapshotId, StepId, StepKind, Timestamp, TrustTier};
use sandgate_engine::plan::{Plan, PlannedGate, PlannedSetup};
use sandgate_engine::run::Outcome;
use sandgate_wire::agent::v1 as wire;
use sandgate_wire::{FieldError, required_field};
use tokio_util::sync::CancellationToken;

use crate::lease::Lease;
use crate::log::{LogSink, LogStart};

/// A claimed step and all that is needed to do it.
pub(crate) struct Assignment {
    /// What every call for the step carries.
    pub(crate) lease: Arc<Lease>,
    /// The run.
    pub(crate) run: RunFacts,
    /// Its plan.
    pub(crate) plan: Plan,
    /// How far its author is trusted.
    pub(crate) tier: TrustTier,
    /// Where its files are, unless this process has prepared them.
    pub(crate) source: Option<RunSource>,
    /// The step.
    pub(crate) step: StepId,
    /// Its name.
    pub(crate) name: String,
    /// What is done.
    pub(crate) task: Task,
    /// A gate: the sealed layers that it starts from, above the commit. A close: all layers of the snapshot. The lowest first.
    pub(crate) from_layers: Vec<LayerId>,
    /// Whether its files are kept even if it passes: other gates start in them, or they are approved.
    pub(crate) keep_files: bool,
    /// Cancelled when the step is no longer wanted, or no longer ours.
    pub(crate) cancelled: CancellationToken,
    /// Where its output goes.
    pub(crate) log: LogSink,
}

/// What is known about a run.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    /// Its id.
    pub(crate) id: RunId,
    /// The repository as it is looked up.
    pub(crate) repository_key: String,
}

/// Where the files of a run are.
#[derive(Debug, Clone)]
pub(crate) struct RunSource {
    /// A repository on this machine.
    pub(crate) folder: PathBuf,
    /// The commit whose files are tested.
    pub(crate) sha: String,
    /// The commit that it would be merged into.
    pub(crate) base: Option<String>,
    /// The branch.
    pub(crate) branch: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Installs what the gates need.
    Setup(PlannedSetup),
    /// Runs a gate.
    Gate(Box<PlannedGate>),
    /// Keeps the files of what passed.
    Close,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(crate) struct StepReport {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// When the first instruction of its commands ran.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Timestamp,
    /// Counts and failures of its report files, as JSON.
    pub(crate) reports: Option<String>,
    /// A remark for people, such as that a setup was found in the cache.
    pub(crate) note: Option<String>,
    /// The layer with its files, if they were kept.
    pub(crate) layer: Option<LayerId>,
    /// The snapshot that was made of it.
    pub(crate) snapshot: Option<SnapshotId>,
    /// The layers of the environment and the commit that it stood on, the lowest first.
    pub(crate) stood_on: Vec<LayerId>,
}

impl StepReport {
    /// That an attempt ended so, and nothing else.
    pub(crate) fn of(outcome: Outcome, ended_at: Timestamp) -> Self {
        Self {
            outcome,
            started_at: None,
            ended_at,
            reports: None,
            note: None,
            layer: None,
            snapshot: None,
            stood_on: Vec::new(),
        }
    }

    /// The message to the agent.
    pub(crate) fn message(&self, log_end: u64) -> Result<wire::CompleteRequest, serde_json::Error> {
        Ok(wire::CompleteRequest {
            outcome: serde_json::to_string(&self.outcome)?,
            started_at: self.started_at.map(Timestamp::as_micros),
            ended_at: self.ended_at.as_micros(),
            reports: self.reports.clone(),
            note: self.note.clone(),
            layer: self.layer.map(|layer| layer.to_string()),
            snapshot: self.snapshot.map(|snapshot| snapshot.to_string()),
            stood_on: self.stood_on.iter().map(ToString::to_string).collect(),
            log_end,
            next: None,
        })
    }
}

impl Assignment {
    /// The step that a message hands out; its output goes to `log`.
    pub(crate) fn read(message: wire::Assignment, log: LogStart) -> Result<Self, FieldError> {
        let plan: Plan = serde_json::from_str(&message.plan)
            .map_err(|error| FieldError { field: "plan", problem: error.to_string() })?;
        let lease_until = Timestamp::from_micros(message.lease_until);
        let lease = Arc::new(Lease::new(message.token, lease_until));
        let source = message.source.map(|source| RunSource {
            folder: PathBuf::from(source.folder),
            sha: source.sha,
            base: source.base,
            branch: source.branch,
        });
        let from_layers: Result<Vec<LayerId>, FieldError> =
            message.from_layers.iter().map(|layer| required_field("from_layers", layer)).collect();
        let id = required_field("run", &message.run)?;
        let cancelled = CancellationToken::new();
        Ok(Self {
            run: RunFacts { id, repository_key: message.repository_key },
            tier: required_field("tier", &message.tier)?,
            step: required_field("step", &message.step)?,
            task: task(required_field("kind", &message.kind)?, &message.name, &plan)?,
            name: message.name,
            from_layers: from_layers?,
            keep_files: message.keep_files,
            log: log.open(Arc::clone(&lease), cancelled.clone(), message.log_offset),
            source,
            cancelled,
            lease,
            plan,
        })
    }

    /// What it asks of the machine.
    pub(crate) fn asks(&self) -> Share {
        match &self.task {
            Task::Setup(setup) => setup.resources.into(),
            Task::Gate(gate) => gate.resources.into(),
            Task::Close => Share::default(),
        }
    }
}

fn task(kind: StepKind, name: &str, plan: &Plan) -> Result<Task, FieldError> {
    let found = match kind {
        StepKind::Setup => plan.environment.setup.clone().map(Task::Setup),
        StepKind::Gate => {
            let gate = plan.gates.iter().find(|gate| gate.name.as_str() == name);
            gate.cloned().map(|gate| Task::Gate(Box::new(gate)))
        }
        StepKind::Close => Some(Task::Close),
    };
    found.ok_or_else(|| FieldError {
        field: "name",
        problem: "the plan has no such step".to_owned(),
    })
}
