//! What runs bring: comment and checks of the present revision. Older revisions write nothing.

use sandgate_domain::{PullRequestId, RunId};
use sandgate_wire::runs::v1::{GetRunRequest, ListRunsRequest, Run};
use sandgate_wire::{error_code, optional_field, required_field};
use tonic::{Request, Status};

use crate::Error;
use crate::change::state_of;
use crate::checks::{self, AGGREGATE, Check, Conclusion};
use crate::comment::Subject;
use crate::convert::report;
use crate::decide::Activity;
use crate::posting::commit_target;
use crate::service::Core;
use crate::sweeper::put_off;

/// How long another service may take to answer.
const CALL: std::time::Duration = std::time::Duration::from_secs(10);
const NEWEST: u32 = 20;

/// Why a revision has no run.
pub(crate) struct Unplanned {
    pub(crate) pull: PullRequestId,
    pub(crate) revision: u64,
    pub(crate) reason: String,
    pub(crate) conflicts: Vec<String>,
    /// The stable name of the kind of failure.
    pub(crate) code: String,
    /// Whether the same may go well later.
    pub(crate) is_passing: bool,
}

impl Core {
    /// Shows how a run stands, if it is the newest one of its pull request's present revision.
    pub(crate) async fn show_run(&self, run: &Run) -> Result<(), Error> {
        let id: RunId = required_field("run.id", &run.id)?;
        let Some(pull) = optional_field("run.pull_request", run.pull_request.as_deref())? else {
            return Ok(());
        };
        let now = self.clock.now();
        let transaction = self.store.begin().await?;
        let pulls = transaction.pull_requests(&self.settings.tenant);
        let Some(mut stored) = pulls.get(pull).await? else { return Ok(()) };
        // Ids of runs grow with time.
        let is_older = stored.run.is_some_and(|known| id < known);
        if stored.revision != u64::from(run.generation) || is_older {
            return Ok(());
        }
        let state = state_of(&stored)?;
        let Activity::Running { head, .. } = &state.activity else { return Ok(()) };
        let report = report(run, head, &self.settings, now)?;
        let target = commit_target(&stored.repository_key, head.as_str());
        let known = transaction.postings(&self.settings.tenant).slots(&target).await?;
        let shown: Vec<Check> = checks::of_run(&report)
            .into_iter()
            .filter(|check| check.name == AGGREGATE || is_bad(check) || known.contains(&check.name))
            .collect();
        self.show(&transaction, &stored, head, &shown, Subject::Run(&report), now).await?;
        stored.run = Some(id);
        stored.answered_revision = stored.revision;
        stored.is_settled = report.result.is_some();
        pulls.save(&stored).await?;
        transaction.commit().await?;
        sandgate_domain::fail_point::reached("posting.planned");
        self.planned.notify_one();
        Ok(())
    }

    /// Shows why a revision has no run. If the reason may pass, the revision stays open, and the sweeper asks again.
    pub(crate) async fn show_unplanned(&self, unplanned: &Unplanned) -> Result<(), Error> {
        let Unplanned { pull, revision, reason, conflicts, code, is_passing } = unplanned;
        let now = self.clock.now();
        let transaction = self.store.begin().await?;
        let pulls = transaction.pull_requests(&self.settings.tenant);
        let found = pulls.get(*pull).await?;
        let mut stored = found.ok_or_else(|| Error::UnknownPullRequest(pull.to_string()))?;
        let state = state_of(&stored)?;
        let Activity::Running { head, .. } = &state.activity else { return Ok(()) };
        // One that has a run was asked for twice, and only the second time went wrong.
        if stored.revision != *revision || stored.run.is_some() {
            return Ok(());
        }
        let later = format!("{code}: {reason}; it is tried again from time to time");
        let reason = if *is_passing { &later } else { reason };
        let subject = if conflicts.is_empty() {
            Subject::NotPlanned { head, reason }
        } else {
            Subject::Conflict { head, paths: conflicts }
        };
        let shown = [checks::not_planned(head, reason)];
        self.show(&transaction, &stored, head, &shown, subject, now).await?;
        if *is_passing {
            put_off(&mut stored, now);
        } else {
            stored.answered_revision = stored.revision;
            stored.is_settled = true;
        }
        pulls.save(&stored).await?;
        transaction.commit().await?;
        self.planned.notify_one();
        Ok(())
    }

    /// A run as it is now; none if there is no such run.
    pub(crate) async fn find_run(&self, id: RunId) -> Result<Option<Run>, Error> {
        let request = within(GetRunRequest { id: id.to_string() });
        match self.runs.clone().get(request).await {
            Ok(reply) => Ok(Some(reply.into_inner())),
            Err(status) if error_code(&status) == sandgate_domain::ErrorCode::NotFound => Ok(None),
            Err(status) => Err(call("asking for a run", status)),
        }
    }

    /// The newest runs of a pull request, the newest first.
    pub(crate) async fn runs_of(&self, pull: PullRequestId) -> Result<Vec<Run>, Error> {
        let request = within(ListRunsRequest {
            pull_request: Some(pull.to_string()),
            page_size: NEWEST,
            ..ListRunsRequest::default()
        });
        let reply = self.runs.clone().list(request).await;
        Ok(reply
            .map_err(|status| call("asking for the runs of a pull request", status))?
            .into_inner()
            .runs)
    }
}

/// A gate's own check is written when it did not pass; one that is there follows the gate.
fn is_bad(check: &Check) -> bool {
    !matches!(check.conclusion, None | Some(Conclusion::Success | Conclusion::Skipped))
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

fn call(calling: &'static str, status: Status) -> Error {
    Error::Call { calling, status: Box::new(status) }
}
