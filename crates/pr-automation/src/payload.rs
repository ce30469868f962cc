//! From the JSON of a webhook to an [`Event`], or to the answer that ends it.
//!
//! Whoever calls has verified the signature. The order is fixed: size, headers, fields. Of a payload only what is used is
//! required; a field that is required and missing, or no name that git or a forge could have, is named in the answer.
//! Unknown events and actions are answered with success, for forges keep adding them.

mod fields;

use ring::digest;
use sandgate_forge::RepositoryName;

use crate::answer::Answer;
use crate::event::{Action, Event, EventKind};

/// The largest body taken, in bytes: what GitHub sends at most.
pub const MAX_BODY_BYTES: usize = 26_214_400;
const MAX_HEADER_BYTES: usize = 100;

/// Understands a delivery whose signature was verified, and whose body is the JSON itself.
pub fn understand_verified(id: &str, event: &str, json: &[u8]) -> Result<Event, Answer> {
    if json.len() > MAX_BODY_BYTES {
        return Err(Answer::TooLarge);
    }
    let delivery_id = header("X-GitHub-Delivery", Some(id))?;
    let name = header("X-GitHub-Event", Some(event))?;
    event_of(delivery_id, name, hex(digest::digest(&digest::SHA256, json).as_ref()), json)
}

fn event_of(
    delivery_id: String,
    name: String,
    body_digest: String,
    json: &[u8],
) -> Result<Event, Answer> {
    let envelope = fields::envelope(json)?;
    let kind = understand(&name, &envelope, json)?;
    let (action, repository) = (envelope.action, envelope.repository);
    Ok(Event { delivery_id, body_digest, name, action, repository, kind })
}

/// The answer to an event that ends here; none for one that has to be stored.
pub fn answer_without_storing(event: &Event) -> Option<Answer> {
    let reason = match &event.kind {
        EventKind::PullRequest(_) | EventKind::Push(_) => return None,
        EventKind::Ping => "ping: the hook works".to_owned(),
        EventKind::Ignored { reason } => reason.clone(),
    };
    Some(Answer::Ignored { reason })
}

fn understand(name: &str, envelope: &fields::Envelope, json: &[u8]) -> Result<EventKind, Answer> {
    let ignored = |reason: String| Ok(EventKind::Ignored { reason });
    match name {
        "ping" => return Ok(EventKind::Ping),
        "pull_request" | "push" => {}
        _ => return ignored(format!("nothing is done for the event `{name}`")),
    }
    let Some(repository) = &envelope.repository else {
        return ignored(format!("the event `{name}` names no repository"));
    };
    if name == "push" {
        return fields::push(json);
    }
    let Some(given) = envelope.action.as_deref() else {
        return ignored("the event `pull_request` names no action".to_owned());
    };
    match Action::ALL.into_iter().find(|action| action.as_str() == given) {
        Some(action) => pull_request(action, repository, json),
        None => ignored(format!(
            "nothing is done for the action `{}` of a pull request",
            given.escape_debug()
        )),
    }
}

fn pull_request(
    action: Action,
    repository: &RepositoryName,
    json: &[u8],
) -> Result<EventKind, Answer> {
    let event = fields::pull_request(action, repository, json)?;
    Ok(EventKind::PullRequest(Box::new(event)))
}

fn header(name: &str, value: Option<&str>) -> Result<String, Answer> {
    let value = value.unwrap_or_default();
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic());
    if value.is_empty() || value.len() > MAX_HEADER_BYTES || !is_plain {
        return Err(malformed(format!(
            "the header {name} is missing, or is no word of at most {MAX_HEADER_BYTES} characters"
        )));
    }
    Ok(value.to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn malformed(detail: impl Into<String>) -> Answer {
    Answer::Malformed { detail: detail.into() }
}

#[cfg(test)]
mod tests;
