//! The fields that are used, and nothing else: everything else is skipped without being kept.
//!
//! Depth needs no limit of its own: skipping does not recurse, and what is read has a fixed shape.

use sandgate_domain::Timestamp;
use sandgate_forge::{BranchName, CommitId, NameError, RepositoryName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::malformed;
use crate::answer::Answer;
use crate::event::{Account, Action, Association, EventKind, PullRequestEvent, PushEvent};

const MAX_TITLE_CHARACTERS: usize = 256;
const MAX_LOGIN_CHARACTERS: usize = 100;
const MAX_ACTION_CHARACTERS: usize = 100;

/// What every payload has.
pub(super) struct Envelope {
    pub(super) action: Option<String>,
    pub(super) repository: Option<RepositoryName>,
}

#[derive(Deserialize)]
struct RawEnvelope {
    action: Option<String>,
    repository: Option<RawRepository>,
}

#[derive(Deserialize)]
struct RawRepository {
    full_name: Option<String>,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct RawPullRequestPayload {
    number: Option<u64>,
    pull_request: Option<RawPullRequest>,
    before: Option<String>,
    after: Option<String>,
    sender: Option<RawAccount>,
}

#[derive(Deserialize)]
struct RawPullRequest {
    number: Option<u64>,
    state: Option<String>,
    title: Option<String>,
    updated_at: Option<String>,
    draft: Option<bool>,
    merged: Option<bool>,
    author_association: Option<String>,
    user: Option<RawAccount>,
    head: Option<RawSide>,
    base: Option<RawSide>,
}

#[derive(Deserialize)]
struct RawSide {
    sha: Option<String>,
    r#ref: Option<String>,
    repo: Option<RawRepository>,
}

#[derive(Deserialize)]
struct RawAccount {
    login: Option<String>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct RawPushPayload {
    r#ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
    repository: Option<RawRepository>,
    sender: Option<RawAccount>,
}

/// Reads what every payload has. Only a text that is no JSON at all, or has these fields wrong, is refused.
pub(super) fn envelope(json: &[u8]) -> Result<Envelope, Answer> {
    let raw: RawEnvelope = parse(json)?;
    let repository = raw.repository.and_then(|repository| repository.full_name);
    let repository =
        repository.map(|name| name.parse()).transpose().map_err(at("repository.full_name"))?;
    let action = raw.action.map(|action| shorten(&action, MAX_ACTION_CHARACTERS));
    Ok(Envelope { action, repository })
}

/// Reads a `pull_request` event.
pub(super) fn pull_request(
    action: Action,
    repository: &RepositoryName,
    json: &[u8],
) -> Result<PullRequestEvent, Answer> {
    let raw: RawPullRequestPayload = parse(json)?;
    let pull = raw.pull_request.ok_or_else(missing("pull_request"))?;
    let number = pull.number.or(raw.number).filter(|number| is_number(*number));
    let head = pull.head.ok_or_else(missing("pull_request.head"))?;
    let base = pull.base.ok_or_else(missing("pull_request.base"))?;
    let head_name = head.repo.and_then(|repository| repository.full_name);
    let base_name = base.repo.and_then(|repository| repository.full_name);
    let head_repository: Option<RepositoryName> = head_name
        .map(|name| name.parse())
        .transpose()
        .map_err(at("pull_request.head.repo.full_name"))?;
    let base_key = base_name.map_or_else(|| repository.key(), |name| name.to_ascii_lowercase());
    let is_fork = head_repository.as_ref().is_none_or(|name| name.key() != base_key);
    let is_closed = action == Action::Closed;
    Ok(PullRequestEvent {
        action,
        number: number.ok_or_else(missing("pull_request.number"))?,
        updated_at: pull.updated_at.map(|text| timestamp(&text)).transpose()?,
        is_open: pull.state.map(|state| state == "open"),
        is_merged: is_closed && pull.merged.unwrap_or(false),
        is_draft: pull.draft.unwrap_or(false),
        head: required_commit("pull_request.head.sha", head.sha)?,
        head_branch: required_branch("pull_request.head.ref", head.r#ref)?,
        head_repository,
        is_fork,
        base_branch: required_branch("pull_request.base.ref", base.r#ref)?,
        base: optional_commit("pull_request.base.sha", base.sha)?,
        before: optional_commit("before", raw.before)?,
        after: optional_commit("after", raw.after)?,
        author: account(pull.user),
        association: pull.author_association.as_deref().map(association),
        sender: account(raw.sender),
        title: shorten(&pull.title.unwrap_or_default(), MAX_TITLE_CHARACTERS),
    })
}

/// Reads a `push` event.
pub(super) fn push(json: &[u8]) -> Result<EventKind, Answer> {
    let raw: RawPushPayload = parse(json)?;
    let reference = raw.r#ref.ok_or_else(missing("ref"))?;
    let Some(branch) = reference.strip_prefix("refs/heads/") else {
        let reason = "only branches are acted on, and something else was pushed".to_owned();
        return Ok(EventKind::Ignored { reason });
    };
    let branch = branch.parse().map_err(at("ref"))?;
    let default_branch = raw.repository.and_then(|repository| repository.default_branch);
    let default_branch = default_branch
        .map(|name| name.parse())
        .transpose()
        .map_err(at("repository.default_branch"))?;
    let event = PushEvent {
        branch,
        before: optional_commit("before", raw.before)?,
        after: optional_commit("after", Some(raw.after.ok_or_else(missing("after"))?))?,
        default_branch,
        sender: account(raw.sender),
    };
    Ok(EventKind::Push(Box::new(event)))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.is_data() {
            format!(
                "a field has the wrong type: {}",
                shorten(&error.to_string(), 200).escape_debug()
            )
        } else {
            format!("the body is not JSON: it ends or breaks at line {line}, column {column}")
        };
        malformed(what)
    })
}

fn required_commit(field: &'static str, text: Option<String>) -> Result<CommitId, Answer> {
    text.ok_or_else(missing(field))?.parse().map_err(at(field))
}

/// No id, or the zero id that stands for none.
fn optional_commit(field: &'static str, text: Option<String>) -> Result<Option<CommitId>, Answer> {
    match text {
        Some(text) if text.bytes().all(|byte| byte == b'0') => Ok(None),
        Some(text) => text.parse().map(Some).map_err(at(field)),
        None => Ok(None),
    }
}

fn required_branch(field: &'static str, text: Option<String>) -> Result<BranchName, Answer> {
    text.ok_or_else(missing(field))?.parse().map_err(at(field))
}

fn account(raw: Option<RawAccount>) -> Option<Account> {
    let raw = raw?;
    let login = shorten(&raw.login?, MAX_LOGIN_CHARACTERS);
    let is_bot = raw.r#type.as_deref() == Some("Bot") || login.ends_with("[bot]");
    Some(Account { login, is_bot })
}

fn association(text: &str) -> Association {
    match text {
        "OWNER" | "MEMBER" | "COLLABORATOR" => Association::Insider,
        _ => Association::Outsider,
    }
}

fn timestamp(text: &str) -> Result<Timestamp, Answer> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(|time| Timestamp::from_micros(time.as_microsecond()))
        .map_err(|_| malformed("the field `pull_request.updated_at` is not a time of RFC 3339"))
}

fn is_number(number: u64) -> bool {
    number > 0 && i64::try_from(number).is_ok()
}

fn missing(field: &'static str) -> impl Fn() -> Answer {
    move || malformed(format!("the field `{field}` is missing or unusable"))
}

fn at(field: &'static str) -> impl Fn(NameError) -> Answer {
    move |error| malformed(format!("the field `{field}`: {error}"))
}

fn shorten(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
