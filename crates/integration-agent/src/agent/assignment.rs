//! What passes between a runner and the agent: a claimed step, and how its attempt ended.

use sandgate_domain::{
    LayerId, Run, RunId, SnapshotId, Step, StepId, StepKind, Timestamp, TrustTier,
};
use sandgate_engine::name::GateName;
use sandgate_engine::plan::Plan;
use sandgate_engine::run::{GateStatus, Outcome, Phase, RunState};
use sandgate_store::Claim;

use super::{RunSource, SETUP, Saved};

/// A step under a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its run.
    pub(crate) run: RunId,
    /// The step.
    pub(crate) step: StepId,
    /// The number of the claim.
    pub(crate) fence: u64,
}

/// A claimed step and all that is needed to do it.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The run as it is written down.
    pub(crate) run: Run,
    /// How far its author is trusted.
    pub(crate) tier: TrustTier,
    /// Where its files are, unless the claimer has prepared them.
    pub(crate) source: Option<RunSource>,
    /// The step.
    pub(crate) step: StepId,
    /// Its name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) kind: StepKind,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// Goes with everything that is reported.
    pub(crate) fence: u64,
    /// Until when it is held, unless renewed.
    pub(crate) lease_until: Timestamp,
    /// A gate: the sealed layers that it starts from, above the commit. A close: all layers of the snapshot. The lowest first.
    pub(crate) from_layers: Vec<LayerId>,
    /// Whether its files are kept even if it passes: other gates start in them, or they are approved.
    pub(crate) keep_files: bool,
    /// Where the log of this attempt begins.
    pub(crate) log_offset: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(crate) struct StepReport {
    /// The step.
    pub(crate) step: StepId,
    /// The fence of the claim.
    pub(crate) fence: u64,
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
    /// The layers of the environment and the commit that it stood on.
    pub(crate) stood_on: Vec<LayerId>,
}

impl Assignment {
    /// What the holder of a claim does.
    pub(super) fn new(run: Run, saved: Saved, plan: &Plan, step: &Step, claim: Claim) -> Self {
        let from_layers = match step.kind {
            StepKind::Setup => Vec::new(),
            StepKind::Gate => {
                let gate = plan.gates.iter().find(|gate| gate.name.as_str() == step.name);
                let from = gate.and_then(|gate| gate.from.as_ref());
                saved.chain(plan, from.map(GateName::as_str))
            }
            StepKind::Close => {
                let kept = saved.chain(plan, plan.approve_from.as_ref().map(GateName::as_str));
                [saved.base.clone(), kept].concat()
            }
        };
        Self {
            step: step.id,
            name: step.name.clone(),
            kind: step.kind,
            attempt: running_attempt(&saved.state, step).unwrap_or(claim.attempt),
            fence: claim.fence,
            lease_until: claim.lease_until,
            from_layers,
            keep_files: is_kept(plan, &step.name),
            log_offset: 0,
            tier: saved.tier,
            source: saved.source,
            run,
        }
    }

    /// The step under its claim.
    pub(crate) fn held(&self) -> Held {
        Held { run: self.run.id, step: self.step, fence: self.fence }
    }
}

/// The attempt of a step that the state machine has started.
pub(super) fn running_attempt(state: &RunState, step: &Step) -> Option<u32> {
    match step.kind {
        StepKind::Setup => match state.phase {
            Phase::Setup { attempt } => Some(attempt),
            Phase::Planned | Phase::Gates | Phase::Ended { .. } => None,
        },
        StepKind::Gate => match &find_gate(state, &step.name)?.status {
            GateStatus::Running(attempt) => Some(attempt.number),
            GateStatus::Waiting | GateStatus::Ended(_) => None,
        },
        StepKind::Close => None,
    }
}

/// Why the state machine wants a step to stop, whoever runs it.
pub(super) fn stop_reason(state: &RunState, step: &Step) -> Option<String> {
    match step.kind {
        StepKind::Setup => state.cancelled.clone(),
        StepKind::Gate => match &find_gate(state, &step.name)?.status {
            GateStatus::Running(attempt) => {
                attempt.stopping.as_ref().map(|stopping| stopping.reason.clone())
            }
            GateStatus::Waiting | GateStatus::Ended(_) => None,
        },
        StepKind::Close => None,
    }
}

/// The gate of that name.
pub(super) fn find_gate<'s>(
    state: &'s RunState,
    name: &str,
) -> Option<&'s sandgate_engine::run::GateState> {
    state.gates.iter().find(|gate| gate.name.as_str() == name)
}

fn is_kept(plan: &Plan, name: &str) -> bool {
    let is = |gate: &GateName| gate.as_str() == name && name != SETUP;
    plan.gates.iter().filter_map(|gate| gate.from.as_ref()).any(is)
        || plan.approve_from.as_ref().is_some_and(is)
}
