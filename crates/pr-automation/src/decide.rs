//! The state of a pull request as a fold over its events, and what follows from it.
//!
//! Forges promise no order: deliveries come late, twice, and the older one after the newer. So an event is not a step but
//! a *statement*: "at this time the pull request was like this". What is [`Known`] is the join of all statements, which
//! does not depend on their order or number; the state is a function of what is known; effects bring what was asked
//! for before in line with it.
//!
//! **Order.** The later `updated_at` counts. It has whole seconds, so for equal times there is a tie rule:
//! 1. Of two heads, the one that the other led to by `before → after` of a moved branch, over any number of moves
//!    made in that second.
//! 2. Else (a branch forced away and back within a second, or the move between them not delivered yet) the greater
//!    action in the order opened, converted to draft, synchronize, ready for review, reopened, closed, then the
//!    greater commit id.
//! 3. Whether it is open: merged beats reopened beats closed beats opened beats what other events say by the way.
//!    Closing and reopening within one second is what people do to start again; the reverse is not.
//!
//! A statement without `updated_at` is older than any with one; among such, the order of arrival counts, and a moved
//! branch says nothing about open or closed, so that a late one does not open what was closed.
//!
//! **Drafts** run like any other pull request, as users know it from their forge; leaving the draft state starts nothing
//! when the head has been run.
//!
//! **Forks** wait until a member approves exactly this head; a new head needs a new approval.

mod approve;
mod known;
mod push;

use sandgate_domain::Timestamp;
use sandgate_forge::{BranchName, CommitId, RepositoryName};
use serde::{Deserialize, Serialize};

pub use approve::{Approval, ApprovalRefused, approve};
pub use known::{Known, Status, View};
pub use push::{PushDecision, PushRun, decide_push};

use crate::event::{PullRequestEvent, Trigger};
use crate::trust::{TrustLists, TrustTier};

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// The repository that it goes into.
    pub repository: RepositoryName,
    /// Its number there.
    pub number: u64,
    /// What the events say, whatever their order was.
    pub known: Known,
    /// Counts what was asked for: each run and each hold has its own, and a later one supersedes. It depends on the
    /// order of arrival, and so is no part of "the same state".
    pub revision: u64,
    /// The approval of the present head.
    pub approval: Option<Approval>,
    /// What was asked for last.
    pub activity: Activity,
    /// When this state was made.
    pub changed_at: Timestamp,
}

impl PullRequest {
    /// One that nothing is known of yet.
    pub fn new(repository: RepositoryName, number: u64, now: Timestamp) -> Self {
        Self {
            repository,
            number,
            known: Known::default(),
            revision: 0,
            approval: None,
            activity: Activity::None,
            changed_at: now,
        }
    }

    /// What it is like now; none before the first event.
    pub fn view(&self) -> Option<View> {
        self.known.view()
    }
}

/// What was asked for last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Nothing yet.
    None,
    /// A run of this head, merged into this branch.
    Running {
        /// The commit.
        head: CommitId,
        /// The branch.
        base_branch: BranchName,
        /// How far it was trusted.
        tier: TrustTier,
    },
    /// This head waits for an approval.
    Held {
        /// The commit.
        head: CommitId,
    },
    /// It is over.
    Closed {
        /// Whether it was merged.
        is_merged: bool,
    },
}

/// What has to happen outside; every one may be done twice without harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Start the gates. The key is (repository, number, revision).
    StartRun(StartRun),
    /// Cancel every run of this pull request with a lower revision; they may write no checks any more.
    CancelRuns {
        /// The first revision that stays.
        before: u64,
    },
    /// Show that this head waits for an approval.
    Hold {
        /// The revision.
        revision: u64,
        /// The commit.
        head: CommitId,
    },
    /// The pull request is over: previews go, retention begins.
    Close {
        /// Whether it was merged.
        is_merged: bool,
    },
}

/// A run that has to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRun {
    /// The revision that it belongs to.
    pub revision: u64,
    /// Why it starts.
    pub trigger: Trigger,
    /// The commit.
    pub head: CommitId,
    /// The branch it comes from: text from outside.
    pub head_branch: BranchName,
    /// The branch it goes into.
    pub base_branch: BranchName,
    /// Where that branch stood by the event; none if it has to be looked up.
    pub base: Option<CommitId>,
    /// How far it is trusted.
    pub tier: TrustTier,
}

/// The next state, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The next state.
    pub state: PullRequest,
    /// In the order in which they are to be done.
    pub effects: Vec<Effect>,
}

/// Takes an event into account. The event must be about this pull request.
pub fn fold(
    previous: &PullRequest,
    event: &PullRequestEvent,
    lists: &TrustLists,
    now: Timestamp,
) -> Decision {
    let mut state = previous.clone();
    state.known.take(event, lists, now);
    settle(previous, state, Trigger::PullRequest(event.action), now)
}

/// Brings what is asked for in line with what is known.
fn settle(
    previous: &PullRequest,
    mut state: PullRequest,
    trigger: Trigger,
    now: Timestamp,
) -> Decision {
    let Some(view) = state.view() else { return Decision { state, effects: Vec::new() } };
    state.approval = state.approval.take().filter(|approval| approval.head == view.head);
    let wanted = wanted(&view, state.approval.is_some());
    let effects = if covers(&state.activity, &wanted) {
        Vec::new()
    } else {
        let effects = effects(&mut state, &wanted, &view, trigger);
        state.activity = wanted;
        effects
    };
    if state != *previous {
        state.changed_at = now;
    }
    Decision { state, effects }
}

fn wanted(view: &View, is_approved: bool) -> Activity {
    match view.status {
        Status::Merged => Activity::Closed { is_merged: true },
        Status::Closed => Activity::Closed { is_merged: false },
        Status::Open if view.tier == TrustTier::Fork && !is_approved => {
            Activity::Held { head: view.head.clone() }
        }
        Status::Open => Activity::Running {
            head: view.head.clone(),
            base_branch: view.base_branch.clone(),
            tier: view.tier,
        },
    }
}

/// Whether what was asked for last will do. A run with more trust than its head turns out to deserve will not.
fn covers(asked: &Activity, wanted: &Activity) -> bool {
    match (asked, wanted) {
        (
            Activity::Running { head, base_branch, tier },
            Activity::Running { head: other, base_branch: other_base, tier: other_tier },
        ) => head == other && base_branch == other_base && tier <= other_tier,
        _ => asked == wanted,
    }
}

fn effects(
    state: &mut PullRequest,
    wanted: &Activity,
    view: &View,
    trigger: Trigger,
) -> Vec<Effect> {
    let is_first = state.activity == Activity::None;
    let was_running = matches!(state.activity, Activity::Running { .. });
    let cancel = |revision| was_running.then_some(Effect::CancelRuns { before: revision });
    match wanted {
        Activity::None => Vec::new(),
        // A pull request that we never saw open has nothing to be tidied up.
        Activity::Closed { .. } if is_first => Vec::new(),
        Activity::Closed { is_merged } => {
            state.revision += 1;
            let close = Effect::Close { is_merged: *is_merged };
            cancel(state.revision).into_iter().chain([close]).collect()
        }
        Activity::Held { head } => {
            state.revision += 1;
            let hold = Effect::Hold { revision: state.revision, head: head.clone() };
            cancel(state.revision).into_iter().chain([hold]).collect()
        }
        Activity::Running { head, base_branch, tier } => {
            state.revision += 1;
            let start = Effect::StartRun(StartRun {
                revision: state.revision,
                trigger,
                head: head.clone(),
                head_branch: view.head_branch.clone(),
                base_branch: base_branch.clone(),
                base: view.base.clone(),
                tier: *tier,
            });
            cancel(state.revision).into_iter().chain([start]).collect()
        }
    }
}

#[cfg(test)]
mod tests;
