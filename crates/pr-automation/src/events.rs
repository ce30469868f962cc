//! From the effects of a decision to the events that others act on.

use sandgate_bus::Message;
use sandgate_domain::{
    BranchPushed, Event, EventId, EventType, PullRequestChanged, RunsSuperseded, Timestamp,
};
use sandgate_store::{StoredPullRequest, Transaction};
use serde::Serialize;

use crate::decide::{Effect, PushRun, View};
use crate::event::{Action, Trigger};
use crate::service::{Core, NAME};
use crate::{Error, decide};

/// Why a pull request is told about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// Something happened.
    Trigger(Trigger),
    /// A run is missing that was asked for.
    Sweep,
}

impl Cause {
    fn text(self) -> String {
        match self {
            Self::Trigger(trigger) => trigger.to_string(),
            Self::Sweep => "sweep".to_owned(),
        }
    }

    /// The name of the event for a pull request that is open.
    fn name(self) -> &'static str {
        match self {
            Self::Trigger(Trigger::Approval) => "approved",
            Self::Trigger(Trigger::PullRequest(Action::Closed) | Trigger::Push) | Self::Sweep => {
                "synchronize"
            }
            Self::Trigger(Trigger::PullRequest(action)) => action.as_str(),
        }
    }
}

impl Core {
    /// Puts the events of a decision into the outbox, in its order.
    pub(crate) async fn tell(
        &self,
        transaction: &Transaction,
        pull: &StoredPullRequest,
        view: &View,
        effects: &[Effect],
        cause: Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        for effect in effects {
            match effect {
                Effect::CancelRuns { before } => {
                    self.tell_superseded(transaction, pull, *before, now).await?;
                }
                Effect::StartRun(_) => {
                    let data = changed(pull, view, false, cause);
                    self.push(transaction, "pr", cause.name(), &pull.id, &data, now).await?;
                }
                Effect::Hold { .. } => {
                    let data = changed(pull, view, true, cause);
                    self.push(transaction, "pr", cause.name(), &pull.id, &data, now).await?;
                }
                Effect::Close { .. } => {
                    let data = changed(pull, view, false, cause);
                    self.push(transaction, "pr", "closed", &pull.id, &data, now).await?;
                }
            }
        }
        Ok(())
    }

    /// Says that runs of older revisions are to be cancelled.
    pub(crate) async fn tell_superseded(
        &self,
        transaction: &Transaction,
        pull: &StoredPullRequest,
        before: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let data = RunsSuperseded {
            repository: pull.repository.clone(),
            pull_request: pull.id,
            number: pull.number,
            before,
        };
        self.push(transaction, "pr", "superseded", &pull.id, &data, now).await
    }

    /// Says again that a run is wanted.
    pub(crate) async fn tell_again(
        &self,
        transaction: &Transaction,
        pull: &StoredPullRequest,
        view: &View,
        now: Timestamp,
    ) -> Result<(), Error> {
        let data = changed(pull, view, false, Cause::Sweep);
        self.push(transaction, "pr", Cause::Sweep.name(), &pull.id, &data, now).await
    }

    /// Says that the default branch moved.
    pub(crate) async fn tell_pushed(
        &self,
        transaction: &Transaction,
        repository: &str,
        run: &PushRun,
        now: Timestamp,
    ) -> Result<(), Error> {
        let data = BranchPushed {
            repository: repository.to_owned(),
            branch: run.branch.to_string(),
            head_sha: run.head.to_string(),
            before_sha: run.before.as_ref().map(ToString::to_string),
            tier: run.tier.as_str().to_owned(),
        };
        let subject = format!("{repository}:{}", run.branch);
        self.push(transaction, "branch", "pushed", &subject, &data, now).await
    }

    async fn push(
        &self,
        transaction: &Transaction,
        entity: &str,
        name: &str,
        subject: &(impl ToString + Sync),
        data: &(impl Serialize + Sync),
        now: Timestamp,
    ) -> Result<(), Error> {
        let kind = EventType::new(entity, name, 1)
            .map_err(|error| Error::Malformed { detail: error.to_string() })?;
        let data = serde_json::to_value(data)
            .map_err(|source| Error::Encode { what: "an event", source })?;
        let event = Event::new(
            EventId::new(&*self.ids),
            format!("sandgate/{NAME}"),
            kind,
            subject.to_string(),
            now,
            self.settings.tenant.clone(),
            data,
        );
        let message = Message::outgoing(&event, std::collections::BTreeMap::new())?;
        Ok(transaction.outbox(NAME).push(&message, now).await?)
    }
}

fn changed(
    pull: &StoredPullRequest,
    view: &View,
    is_held: bool,
    cause: Cause,
) -> PullRequestChanged {
    PullRequestChanged {
        repository: pull.repository.clone(),
        pull_request: pull.id,
        number: pull.number,
        revision: pull.revision,
        head_sha: view.head.to_string(),
        head_branch: view.head_branch.to_string(),
        base_sha: view.base.as_ref().map(ToString::to_string),
        base_branch: view.base_branch.to_string(),
        tier: view.tier.as_str().to_owned(),
        trigger: cause.text(),
        held: is_held,
        open: view.status == decide::Status::Open,
        merged: view.status == decide::Status::Merged,
    }
}
