//! Takes a delivery in: written down with all that follows from it in one transaction, before it is answered.

use sandgate_domain::Timestamp;
use sandgate_store::{Arrival, InboxAnswer, InboxOutcome, KnownRepository, Transaction};
use sandgate_wire::pulls::v1::{AcceptReply, AcceptRequest};

use crate::decide::{PushDecision, decide_push};
use crate::event::{Event, EventKind, PushEvent};
use crate::service::Core;
use crate::{Answer, Error, payload};

/// Where deliveries come from.
const SOURCE: &str = "github";

impl Core {
    /// Takes one delivery in.
    pub(crate) async fn accept(&self, request: AcceptRequest) -> Result<AcceptReply, Error> {
        let AcceptRequest { delivery_id, event: name, body, content_type: _ } = request;
        let event = payload::understand_verified(&delivery_id, &name, &body)
            .map_err(|answer| Error::Malformed { detail: answer.reason() })?;
        let body = String::from_utf8(body.into()).map_err(|error| Error::Malformed {
            detail: format!("the body is no text: {error}"),
        })?;
        let now = self.clock.now();
        let transaction = self.store.begin().await?;
        let inbox = transaction.inbox(&self.settings.tenant);
        let reply = match inbox.accept(&arrival(&event, body), now).await? {
            InboxAnswer::OtherBody => return Err(Error::OtherBody { delivery_id }),
            InboxAnswer::Duplicate(_) => return Ok(reply("duplicate", None)),
            InboxAnswer::SameMeaning { delivery_id } => {
                let reason = format!("the delivery {delivery_id} said the same");
                return Ok(reply("duplicate", Some(reason)));
            }
            InboxAnswer::Queued => {
                let outcome = self.act(&transaction, &event, now).await?;
                inbox.settle(SOURCE, &delivery_id, &outcome, now).await?;
                match outcome {
                    InboxOutcome::Ignored { reason } => reply("ignored", Some(reason)),
                    InboxOutcome::Queued
                    | InboxOutcome::Succeeded
                    | InboxOutcome::Failed { .. } => reply("queued", None),
                }
            }
        };
        sandgate_domain::fail_point::reached("accept.written");
        transaction.commit().await?;
        sandgate_domain::fail_point::reached("accept.committed");
        self.wake();
        Ok(reply)
    }

    /// Takes a stored delivery in again; only one that was ignored or failed is acted on.
    pub(crate) async fn redeliver(&self, delivery_id: String) -> Result<AcceptReply, Error> {
        let inbox = self.store.inbox(&self.settings.tenant);
        let Some(arrival) = inbox.get(SOURCE, &delivery_id).await? else {
            return Err(Error::UnknownDelivery { delivery_id });
        };
        let again = AcceptRequest {
            delivery_id,
            event: arrival.kind,
            body: arrival.body.into(),
            content_type: "application/json".to_owned(),
        };
        self.accept(again).await
    }

    async fn act(
        &self,
        transaction: &Transaction,
        event: &Event,
        now: Timestamp,
    ) -> Result<InboxOutcome, Error> {
        if let Some(answer) = payload::answer_without_storing(event) {
            return Ok(ignored(answer.reason()));
        }
        let Some(name) = &event.repository else {
            return Ok(ignored("it names no repository".to_owned()));
        };
        let repositories = transaction.known_repositories(&self.settings.tenant);
        let Some(repository) = repositories.get(&name.key()).await? else {
            return Ok(ignored(Answer::unknown_repository(name).reason()));
        };
        match &event.kind {
            EventKind::PullRequest(pull) => {
                self.take(transaction, &repository, pull, now).await?;
                Ok(InboxOutcome::Succeeded)
            }
            EventKind::Push(push) => self.pushed(transaction, &repository, push, now).await,
            EventKind::Ping | EventKind::Ignored { .. } => Ok(ignored(String::new())),
        }
    }

    async fn pushed(
        &self,
        transaction: &Transaction,
        repository: &KnownRepository,
        push: &PushEvent,
        now: Timestamp,
    ) -> Result<InboxOutcome, Error> {
        let branch = repository.default_branch.as_deref().map(str::parse).transpose()?;
        match decide_push(push, branch.as_ref(), &self.settings.lists) {
            PushDecision::Nothing(reason) => Ok(ignored(reason.to_owned())),
            PushDecision::Start(run) => {
                self.tell_pushed(transaction, &repository.name, &run, now).await?;
                Ok(InboxOutcome::Succeeded)
            }
        }
    }
}

fn arrival(event: &Event, body: String) -> Arrival {
    Arrival {
        source: SOURCE.to_owned(),
        delivery_id: event.delivery_id.clone(),
        body_hash: event.body_digest.clone(),
        semantic_key: event.semantic_key().map(|key| key.to_string()),
        repository: event.repository.as_ref().map(ToString::to_string),
        kind: event.name.clone(),
        body,
    }
}

fn ignored(reason: String) -> InboxOutcome {
    InboxOutcome::Ignored { reason }
}

fn reply(outcome: &str, reason: Option<String>) -> AcceptReply {
    AcceptReply { outcome: outcome.to_owned(), reason }
}
