//! Changes of a pull request: load, decide, write the state with its events and what is to be shown, in one transaction.

use sandgate_domain::{PullRequestId, Timestamp};
use sandgate_forge::{CommitId, RepositoryName};
use sandgate_store::{KnownRepository, PullRequestHead, StoredPullRequest, Transaction};

use crate::comment::Subject;
use crate::decide::{self, Activity, Decision, Effect, PullRequest};
use crate::event::{PullRequestEvent, Trigger};
use crate::events::Cause;
use crate::service::Core;
use crate::trust::TrustTier;
use crate::{Error, checks, convert};

/// A pull request by its id, or by its repository and number.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Id(PullRequestId),
    Number(RepositoryName, u64),
}

impl Core {
    /// Takes an event into account.
    pub(crate) async fn take(
        &self,
        transaction: &Transaction,
        repository: &KnownRepository,
        event: &PullRequestEvent,
        now: Timestamp,
    ) -> Result<StoredPullRequest, Error> {
        let pulls = transaction.pull_requests(&self.settings.tenant);
        let known = pulls.find(&repository.key, event.number).await?;
        let (stored, state) = match known {
            Some(stored) => {
                let state = state_of(&stored)?;
                (stored, state)
            }
            None => self.begin(repository, event, now)?,
        };
        let tier = self.settings.lists.author_tier(event);
        let is_agents = self.settings.lists.is_agents_head(event);
        let brought = if is_agents { tier.min(TrustTier::Agent) } else { tier };
        let heads = [(Some(&event.head), brought), (event.before.as_ref(), tier)];
        for (commit, tier) in heads {
            let Some(commit) = commit else { continue };
            let head = head_of(&stored, commit, tier, false);
            pulls.note_head(&head, now).await?;
        }
        let decision = decide::fold(&state, event, &self.settings.lists, now);
        let cause = Trigger::PullRequest(event.action);
        self.keep(transaction, stored, &state, decision, cause, now).await
    }

    /// Lets a held pull request run at exactly this head.
    pub(crate) async fn approve(
        &self,
        key: &Key,
        head: &CommitId,
        by: &str,
        now: Timestamp,
    ) -> Result<StoredPullRequest, Error> {
        let transaction = self.store.begin().await?;
        let stored = self.load(&transaction, key).await?;
        let state = state_of(&stored)?;
        let decision = decide::approve(&state, head, by, now)?;
        let stored =
            self.keep(&transaction, stored, &state, decision, Trigger::Approval, now).await?;
        transaction.commit().await?;
        self.wake();
        Ok(stored)
    }

    /// A pull request that must exist.
    pub(crate) async fn load(
        &self,
        repositories: &sandgate_store::Repositories,
        key: &Key,
    ) -> Result<StoredPullRequest, Error> {
        let pulls = repositories.pull_requests(&self.settings.tenant);
        let (found, name) = match key {
            Key::Id(id) => (pulls.get(*id).await?, id.to_string()),
            Key::Number(repository, number) => {
                (pulls.find(&repository.key(), *number).await?, format!("{repository}#{number}"))
            }
        };
        found.ok_or(Error::UnknownPullRequest(name))
    }

    /// After a commit: what was put into the outbox goes out, and what was planned is done.
    pub(crate) fn wake(&self) {
        self.outgoing.notify_one();
        self.planned.notify_one();
    }

    fn begin(
        &self,
        repository: &KnownRepository,
        event: &PullRequestEvent,
        now: Timestamp,
    ) -> Result<(StoredPullRequest, PullRequest), Error> {
        let name: RepositoryName = repository.name.parse()?;
        let stored = StoredPullRequest {
            id: PullRequestId::new(&*self.ids),
            repository_key: repository.key.clone(),
            repository: repository.name.clone(),
            number: event.number,
            state: String::new(),
            revision: 0,
            head_sha: event.head.to_string(),
            head_branch: event.head_branch.to_string(),
            is_open: true,
            answered_revision: 0,
            run: None,
            is_settled: true,
            sweep_at: Timestamp::from_micros(0),
            times_asked: 0,
            created_at: now,
            updated_at: now,
        };
        Ok((stored, PullRequest::new(name, event.number, now)))
    }

    /// Writes down what was decided.
    async fn keep(
        &self,
        transaction: &Transaction,
        mut stored: StoredPullRequest,
        previous: &PullRequest,
        decision: Decision,
        trigger: Trigger,
        now: Timestamp,
    ) -> Result<StoredPullRequest, Error> {
        let Decision { state, effects } = decision;
        let Some(view) = state.view() else { return Ok(stored) };
        if state == *previous {
            return Ok(stored);
        }
        self.end_shown(transaction, &stored, previous, state.revision, now).await?;
        stored.state = serde_json::to_string(&state)
            .map_err(|source| Error::Encode { what: "a pull request", source })?;
        stored.head_sha = view.head.to_string();
        stored.head_branch = view.head_branch.to_string();
        stored.is_open = view.status == decide::Status::Open;
        stored.updated_at = now;
        if state.revision != stored.revision {
            stored.revision = state.revision;
            stored.run = None;
            (stored.sweep_at, stored.times_asked) = (Timestamp::from_micros(0), 0);
            settle(&mut stored, &state.activity, &effects);
        }
        let pulls = transaction.pull_requests(&self.settings.tenant);
        pulls.save(&stored).await?;
        let is_approved = state.approval.as_ref().is_some_and(|one| one.head == view.head);
        let head = head_of(&stored, &view.head, view.tier, is_approved);
        pulls.set_head(&head, now).await?;
        let cause = Cause::Trigger(trigger);
        self.tell(transaction, &stored, &view, &effects, cause, now).await?;
        if effects.iter().any(|effect| matches!(effect, Effect::Hold { .. })) {
            let shown = [checks::held(stored.number, &view.head)];
            let subject = Subject::Held { head: &view.head };
            self.show(transaction, &stored, &view.head, &shown, subject, now).await?;
        }
        Ok(stored)
    }

    /// A run that is shown as under way, and whose revision is over, will write nothing any more.
    async fn end_shown(
        &self,
        transaction: &Transaction,
        stored: &StoredPullRequest,
        previous: &PullRequest,
        revision: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let is_shown = stored.run.is_some() && !stored.is_settled;
        let Activity::Running { head, .. } = &previous.activity else { return Ok(()) };
        if revision == stored.revision || !is_shown {
            return Ok(());
        }
        self.show_checks(transaction, stored, head, &[checks::superseded(head)], now).await
    }
}

fn head_of(
    stored: &StoredPullRequest,
    commit: &CommitId,
    tier: TrustTier,
    is_approved: bool,
) -> PullRequestHead {
    PullRequestHead {
        pull_request: stored.id,
        repository_key: stored.repository_key.clone(),
        sha: commit.to_string(),
        tier: convert::tier(tier),
        is_approved,
    }
}

/// A revision that waits for no run is answered; it is settled unless older runs have to end.
fn settle(stored: &mut StoredPullRequest, activity: &Activity, effects: &[Effect]) {
    let waits = matches!(activity, Activity::Running { .. });
    let cancels = effects.iter().any(|effect| matches!(effect, Effect::CancelRuns { .. }));
    if !waits {
        stored.answered_revision = stored.revision;
    }
    stored.is_settled = !waits && !cancels;
}

/// What is known of a stored pull request.
pub(crate) fn state_of(stored: &StoredPullRequest) -> Result<PullRequest, Error> {
    serde_json::from_str(&stored.state).map_err(|source| Error::State { id: stored.id, source })
}
