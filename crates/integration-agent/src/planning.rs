//! From a commit to a run: the tested commit, its configuration, the plan, the rows.

use std::path::PathBuf;

use sandgate_domain::{IsolationSummary, Run, RunId, TrustTier, UnsupportedKey};
use sandgate_engine::config;
use sandgate_engine::plan::{Plan, PlanInput, plan};
use sandgate_engine::run::GateStatus;
use sandgate_wire::Connection;
use sandgate_wire::pulls::v1::source_client::SourceClient;
use sandgate_wire::pulls::v1::{
    ChangedPathsRequest, ReadFileRequest, ResolveReply, ResolveRequest, TraceReply, TraceRequest,
};
use tonic::Code;

use crate::agent::{Agent, NewRun, RunSource, Saved};
use crate::error::Error;

/// The name of the configuration file.
const FILE_NAME: &str = ".sandgate.yaml";

/// What is to be tested.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The repository.
    pub repository: String,
    /// The commit that was pushed.
    pub head_sha: String,
    /// Its branch.
    pub head_branch: Option<String>,
    /// The branch that it goes to.
    pub base_branch: Option<String>,
    /// Where that branch stands.
    pub base_sha: Option<String>,
    /// How far its author is trusted.
    pub tier: TrustTier,
    /// The pull request, and its revision.
    pub pull_request: Option<(String, u32)>,
    /// What asks for it.
    pub request_key: Option<String>,
}

/// Makes runs of commits.
#[derive(Clone)]
pub struct Planner {
    agent: Agent,
    source: SourceClient<Connection>,
    isolation: IsolationSummary,
}

impl Planner {
    /// A planner that reads files over `source`.
    pub fn new(agent: Agent, source: Connection, isolation: IsolationSummary) -> Self {
        Self { agent, source: SourceClient::new(source), isolation }
    }

    /// A run of a commit of a known repository, asked for by hand, and whether the same request had made it before. It is
    /// trusted as far as who brought the commit, whoever asks.
    ///
    /// # Errors
    /// If the key was used for another commit, the commit comes from a fork and nobody approved it, it or its configuration
    /// can't be read, or the database refuses.
    pub async fn run_commit(
        &self,
        repository: &str,
        sha: &str,
        request_key: Option<String>,
    ) -> Result<(RunId, bool), Error> {
        if let Some(key) = &request_key
            && let Some(run) = self.agent.run_of_request(key).await?
        {
            refuse_other(&run, repository, sha)?;
            return Ok((run.id, true));
        }
        let origin = self.trace(repository, sha).await?;
        let tier: TrustTier = origin.tier.parse()?;
        let is_trusted = tier == TrustTier::Member;
        let (id, existed) = self
            .run(Subject {
                repository: repository.to_owned(),
                head_sha: sha.to_owned(),
                head_branch: origin.head_branch.filter(|_| !is_trusted),
                // The configuration that counts for what is not trusted is that of where it goes.
                base_branch: origin.base_branch.filter(|_| !is_trusted),
                base_sha: None,
                tier,
                pull_request: None,
                request_key,
            })
            .await?;
        if existed {
            // Somebody else came first with the same key.
            refuse_other(&self.agent.run(id).await?.0, repository, sha)?;
        }
        Ok((id, existed))
    }

    /// Where a commit comes from. One of a fork that nobody looked at is refused.
    async fn trace(&self, repository: &str, sha: &str) -> Result<TraceReply, Error> {
        let request = TraceRequest { repository: repository.to_owned(), sha: sha.to_owned() };
        let origin = self.source.clone().trace(request).await?.into_inner();
        if origin.held {
            return Err(Error::Held { sha: sha.to_owned(), number: origin.number });
        }
        Ok(origin)
    }

    /// A run of what is to be tested; the same one if it was asked for before, and whether it was.
    ///
    /// # Errors
    /// If it can't be merged, or its configuration can't be read; then the text says what to change.
    pub async fn run(&self, subject: Subject) -> Result<(RunId, bool), Error> {
        if let Some(key) = &subject.request_key
            && let Some(run) = self.agent.run_of_request(key).await?
        {
            self.agent.begin(run.id, &self.isolation).await?;
            return Ok((run.id, true));
        }
        let resolved = self.resolve(&subject).await?;
        if let Some(conflict) = resolved.conflict {
            return Err(Error::Conflict { reason: conflict.reason, paths: conflict.paths });
        }
        let (plan, unsupported) = self.plan(&subject, &resolved).await?;
        let (pull_request, revision) = match subject.pull_request {
            Some((id, revision)) => (Some(id), revision),
            None => (None, 0),
        };
        let source = RunSource {
            folder: PathBuf::from(&resolved.folder),
            sha: resolved.test_sha,
            base: resolved.base_sha.clone(),
            branch: subject.head_branch.clone(),
        };
        let new = NewRun {
            repository_key: subject.repository.to_lowercase(),
            repository: subject.repository,
            head_sha: subject.head_sha,
            base_sha: resolved.base_sha,
            branch: subject.head_branch,
            dirty: false,
            tier: subject.tier,
            plan,
            unsupported,
            source: Some(source),
            is_whole: true,
            pull_request,
            revision,
            request_key: subject.request_key,
        };
        let (run, existed) = self.agent.find_or_create_run(new).await?;
        sandgate_domain::fail_point::reached("run.created");
        self.agent.begin(run, &self.isolation).await?;
        Ok((run, existed))
    }

    /// A new run of the same files: all gates, or those that did not pass and what they need.
    ///
    /// # Errors
    /// If there is no such run, its files are gone, its commit is trusted less than it was then or waits for an approval, or
    /// the database refuses.
    pub async fn rerun(&self, id: RunId, only_failed: bool) -> Result<RunId, Error> {
        let (run, _) = self.agent.run(id).await?;
        let saved: Saved = serde_json::from_str(&run.progress)?;
        let plan: Plan = serde_json::from_str(&run.plan)?;
        if saved.source.is_none() {
            return Err(Error::NotRepeatable(id));
        }
        let origin = self.trace(&run.repository, &run.head_sha).await?;
        if origin.tier.parse::<TrustTier>()? > saved.tier {
            return Err(Error::LessTrusted { run: id, tier: origin.tier });
        }
        let plan = if only_failed { without_passed(&plan, &saved) } else { plan };
        let new = NewRun {
            repository: run.repository,
            repository_key: run.repository_key,
            head_sha: run.head_sha,
            base_sha: run.base_sha,
            branch: run.branch,
            dirty: false,
            tier: saved.tier,
            plan,
            unsupported: run.unsupported,
            source: saved.source,
            is_whole: saved.is_whole && !only_failed,
            pull_request: run.pull_request,
            revision: run.generation,
            request_key: None,
        };
        let made = self.agent.create_run(new).await?;
        self.agent.begin(made, &self.isolation).await?;
        Ok(made)
    }

    async fn resolve(&self, subject: &Subject) -> Result<ResolveReply, Error> {
        let request = ResolveRequest {
            repository: subject.repository.clone(),
            head_sha: subject.head_sha.clone(),
            head_branch: subject.head_branch.clone(),
            base_branch: subject.base_branch.clone(),
            base_sha: subject.base_sha.clone(),
            tier: subject.tier.to_string(),
        };
        Ok(self.source.clone().resolve(request).await?.into_inner())
    }

    async fn plan(
        &self,
        subject: &Subject,
        resolved: &ResolveReply,
    ) -> Result<(Plan, Vec<UnsupportedKey>), Error> {
        let text = self.read_config(&subject.repository, &resolved.config_sha).await?;
        let parsed = config::parse(&text, FILE_NAME)
            .map_err(|errors| Error::Configuration(errors.to_string()))?;
        let (fatal, ignored): (Vec<_>, Vec<_>) =
            parsed.unsupported.into_iter().partition(|key| key.fatal);
        if let Some(key) = fatal.first() {
            return Err(Error::Configuration(format!(
                "{}:{}:{}: `{}` can't be done yet: {}",
                key.file, key.line, key.column, key.key, key.instead
            )));
        }
        let filters_by_path = parsed
            .config
            .gates
            .iter()
            .any(|gate| !gate.when.paths.is_empty() || !gate.when.paths_ignore.is_empty());
        let changed_paths =
            if filters_by_path { self.changed_paths(subject, resolved).await? } else { None };
        let input =
            PlanInput { only: Vec::new(), base_branch: subject.base_branch.clone(), changed_paths };
        let plan = plan(&parsed.config, &input)
            .map_err(|error| Error::Configuration(error.to_string()))?;
        let unsupported = ignored.into_iter().map(|key| UnsupportedKey {
            key: key.key,
            file: key.file,
            line: key.line,
            column: key.column,
            instead: key.instead,
        });
        Ok((plan, unsupported.collect()))
    }

    async fn read_config(&self, repository: &str, sha: &str) -> Result<String, Error> {
        let request = ReadFileRequest {
            repository: repository.to_owned(),
            sha: sha.to_owned(),
            path: FILE_NAME.to_owned(),
            max_bytes: config::MAX_BYTES as u64,
        };
        let reply = self.source.clone().read_file(request).await;
        let bytes = match reply {
            Ok(reply) => reply.into_inner().data,
            Err(status) if status.code() == Code::NotFound => {
                return Err(Error::Configuration(format!(
                    "there is no {FILE_NAME} in {sha}; `sandgate init` proposes one"
                )));
            }
            Err(status) => return Err(status.into()),
        };
        String::from_utf8(bytes.into())
            .map_err(|_| Error::Configuration(format!("{FILE_NAME} is not UTF-8")))
    }

    async fn changed_paths(
        &self,
        subject: &Subject,
        resolved: &ResolveReply,
    ) -> Result<Option<Vec<String>>, Error> {
        let Some(base) = &resolved.base_sha else { return Ok(None) };
        let request = ChangedPathsRequest {
            repository: subject.repository.clone(),
            base_sha: base.clone(),
            head_sha: subject.head_sha.clone(),
        };
        let reply = self.source.clone().changed_paths(request).await?.into_inner();
        Ok(if reply.unknown { None } else { Some(reply.paths) })
    }
}

/// A key stands for one commit of one repository.
fn refuse_other(run: &Run, repository: &str, sha: &str) -> Result<(), Error> {
    let is_same = run.repository_key == repository.to_lowercase() && run.head_sha == sha;
    if is_same {
        return Ok(());
    }
    Err(Error::OtherRequest {
        run: run.id,
        known: format!("{}@{}", run.repository, run.head_sha),
        asked: format!("{repository}@{sha}"),
    })
}

/// The plan without the gates that passed in `saved`, unless one that is left starts in their files.
fn without_passed(plan: &Plan, saved: &Saved) -> Plan {
    let mut plan = plan.clone();
    let passed = |name: &sandgate_engine::GateName| {
        saved.state.gate(name).is_some_and(|gate| match &gate.status {
            GateStatus::Ended(record) => record.passes(),
            GateStatus::Waiting | GateStatus::Running(_) => false,
        })
    };
    let is_needed = |name: &sandgate_engine::GateName| {
        plan.gates
            .iter()
            .any(|gate| !passed(&gate.name) && gate.from.as_ref().is_some_and(|from| from == name))
    };
    let dropped: Vec<_> = plan
        .gates
        .iter()
        .map(|gate| gate.name.clone())
        .filter(|name| passed(name) && !is_needed(name))
        .collect();
    for gate in &mut plan.gates {
        if dropped.contains(&gate.name) && gate.filtered.is_none() {
            gate.filtered = Some(sandgate_engine::plan::Filtered::NotAskedFor);
        }
    }
    plan
}

#[cfg(test)]
mod tests;
