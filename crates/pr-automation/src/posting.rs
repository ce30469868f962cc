//! Shows checks and comments: first what is wanted and the intent, then the writing, then the note that it is done.
//!
//! The same content is not wanted twice. An effect that runs twice, or after a newer one, writes nothing.

use std::time::Duration;

use ring::digest;
use sandgate_domain::Timestamp;
use sandgate_forge::{CommitId, RepositoryName};
use sandgate_store::{Effect, Repositories, StoredPullRequest, Transaction};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::checks::Check;
use crate::comment::{self, Subject};
use crate::error::log_retry;
use crate::payload::hex;
use crate::service::Core;

/// The slot of the one comment of a pull request.
const COMMENT: &str = "sandgate";
const KIND: &str = "posting";
const BATCH: u32 = 200;
/// How long a writing may take before somebody else does it.
const LEASE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(30);

/// A check as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownCheck {
    pub(crate) external_id: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) annotations: Vec<ShownAnnotation>,
    pub(crate) details_url: Option<String>,
}

/// A remark at a place in a file, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownAnnotation {
    path: String,
    line: u32,
    is_failure: bool,
    title: String,
    message: String,
}

/// What an effect has to write.
#[derive(Serialize, Deserialize)]
struct Writing {
    target: String,
    slot: String,
    version: u64,
    content: String,
}

/// Where the checks of a commit are.
pub(crate) fn commit_target(repository_key: &str, head: &str) -> String {
    format!("commit:{repository_key}:{head}")
}

/// The repository and the commit whose checks are there.
pub(crate) fn commit_of(target: &str) -> Option<(&str, &str)> {
    target.strip_prefix("commit:")?.rsplit_once(':')
}

/// Where the comment of a pull request is.
pub(crate) fn pull_target(pull: &StoredPullRequest) -> String {
    format!("pull:{}", pull.id)
}

impl Core {
    /// Plans these checks of a head and the comment of its pull request, as far as they say anything new.
    pub(crate) async fn show(
        &self,
        transaction: &Transaction,
        pull: &StoredPullRequest,
        head: &CommitId,
        checks: &[Check],
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.show_checks(transaction, pull, head, checks, now).await?;
        let name: RepositoryName = pull.repository.parse()?;
        let text = comment::render(&name, pull.number, subject);
        self.plan(transaction, pull_target(pull), COMMENT.to_owned(), text, now).await
    }

    /// Plans these checks of a head, as far as they say anything new.
    pub(crate) async fn show_checks(
        &self,
        transaction: &Transaction,
        pull: &StoredPullRequest,
        head: &CommitId,
        checks: &[Check],
        now: Timestamp,
    ) -> Result<(), Error> {
        let commit = commit_target(&pull.repository_key, head.as_str());
        for check in checks {
            let content = serde_json::to_string(&shown(check))
                .map_err(|source| Error::Encode { what: "a check", source })?;
            self.plan(transaction, commit.clone(), check.name.clone(), content, now).await?;
        }
        Ok(())
    }

    async fn plan(
        &self,
        transaction: &Transaction,
        target: String,
        slot: String,
        content: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        let hash = hex(digest::digest(&digest::SHA256, content.as_bytes()).as_ref());
        let postings = transaction.postings(&self.settings.tenant);
        let Some(version) = postings.want(&target, &slot, &hash).await? else { return Ok(()) };
        let key = format!("{target}/{slot}/{version}");
        let payload = serde_json::to_string(&Writing { target, slot, version, content })
            .map_err(|source| Error::Encode { what: "an effect", source })?;
        transaction.effects(&self.settings.tenant).plan(&key, KIND, &payload, now).await?;
        Ok(())
    }

    /// Does all effects that are planned, or were left undone; how many wrote something.
    pub(crate) async fn write_planned(&self) -> Result<u64, Error> {
        let mut written = 0;
        loop {
            let now = self.clock.now();
            let effects = self.store.effects(&self.settings.tenant).unsettled(now, BATCH).await?;
            let ours: Vec<Effect> =
                effects.into_iter().filter(|effect| effect.kind == KIND).collect();
            if ours.is_empty() {
                return Ok(written);
            }
            let transaction = self.store.begin().await?;
            for effect in &ours {
                written += u64::from(self.write(&transaction, effect, now).await?);
            }
            sandgate_domain::fail_point::reached("posting.written");
            transaction.commit().await?;
            sandgate_domain::fail_point::reached("posting.confirmed");
        }
    }

    /// The forge on this disk is this database: writing and confirming are one, so that no doubt can be left.
    async fn write(
        &self,
        repositories: &Repositories,
        effect: &Effect,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let effects = repositories.effects(&self.settings.tenant);
        if effects.take(&effect.key, now, LEASE).await?.is_none() {
            return Ok(false);
        }
        let writing: Writing = match serde_json::from_str(&effect.payload) {
            Ok(writing) => writing,
            Err(error) => {
                tracing::error!(effect.key, %error, "an effect can't be read and is given up");
                effects.confirm(&effect.key, "given up", now).await?;
                return Ok(false);
            }
        };
        let Writing { target, slot, version, content } = writing;
        let postings = repositories.postings(&self.settings.tenant);
        let is_new = postings.write(&target, &slot, version, &content, now).await?;
        let remote_id = if is_new { "written" } else { "a newer one is there" };
        effects.confirm(&effect.key, remote_id, now).await?;
        Ok(is_new)
    }
}

/// Writes what is planned until told to stop.
pub(crate) async fn run(core: &Core, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = core.write_planned().await {
            log_retry("write checks and comments", &error);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = core.planned.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn shown(check: &Check) -> ShownCheck {
    let annotations = check.annotations.iter().map(|remark| ShownAnnotation {
        path: remark.path.clone(),
        line: remark.line,
        is_failure: remark.is_failure,
        title: remark.title.clone(),
        message: remark.message.clone(),
    });
    ShownCheck {
        external_id: check.external_id.clone(),
        conclusion: check.conclusion.map(|conclusion| conclusion.as_str().to_owned()),
        title: check.title.clone(),
        summary: check.summary.clone(),
        annotations: annotations.collect(),
        details_url: check.details_url.clone(),
    }
}
