//! The contract `Agent`: what runners ask. Parses, calls one function, converts the reply.

use std::time::Duration;

use sandgate_domain::{LayerId, RunId, Share, SnapshotId, Timestamp};
use sandgate_engine::admission::Room;
use sandgate_engine::run::Outcome;
use sandgate_wire::agent::v1 as wire;
use sandgate_wire::common::v1 as common;
use sandgate_wire::token::{StepToken, TokenError, TokenKey, step_token};
use sandgate_wire::{FieldError, MAX_AGENT_BYTES, optional_field, required_field};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::agent::{Agent, Assignment, Claimer, Held, StepReport};
use crate::progress::Stream;
use crate::runs_service::refuse;

/// The longest that a call waits.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// The largest piece of a log, in bytes.
const MAX_CHUNK: usize = 256 << 10;

type Reply<T> = Result<Response<T>, Status>;

/// The `Agent` service.
#[derive(Clone)]
pub struct AgentService {
    agent: Agent,
    key: TokenKey,
}

impl AgentService {
    /// The service over an agent; `key` signs the tokens of steps.
    pub fn new(agent: Agent, key: TokenKey) -> Self {
        Self { agent, key }
    }

    /// The service, ready to be bound.
    pub fn server(self) -> wire::agent_server::AgentServer<Self> {
        wire::agent_server::AgentServer::new(self)
            .max_decoding_message_size(MAX_AGENT_BYTES)
            .max_encoding_message_size(MAX_AGENT_BYTES)
    }

    /// The step that a call is for. Whether its claim still holds is for the database to say.
    fn held(&self, metadata: &MetadataMap) -> Result<Held, TokenError> {
        let token = self.key.verify_signature(step_token(metadata)?)?;
        if token.tenant != *self.agent.tenant() {
            return Err(TokenError::BadSignature);
        }
        Ok(Held { run: token.run, step: token.step, fence: token.fence })
    }

    fn token(&self, held: Held, lease_until: Timestamp) -> String {
        let Held { run, step, fence } = held;
        let tenant = self.agent.tenant().clone();
        self.key.sign(&StepToken { tenant, run, step, fence, lease_until })
    }

    fn assignments(&self, assignments: Vec<Assignment>) -> Vec<wire::Assignment> {
        assignments.into_iter().map(|assignment| self.assignment(assignment)).collect()
    }

    fn assignment(&self, assignment: Assignment) -> wire::Assignment {
        let source = assignment.source.as_ref().map(|source| wire::Source {
            folder: source.folder.display().to_string(),
            sha: source.sha.clone(),
            base: source.base.clone(),
            branch: source.branch.clone(),
        });
        wire::Assignment {
            token: self.token(assignment.held(), assignment.lease_until),
            lease_until: assignment.lease_until.as_micros(),
            run: assignment.run.id.to_string(),
            tier: assignment.tier.to_string(),
            step: assignment.step.to_string(),
            name: assignment.name,
            kind: assignment.kind.to_string(),
            attempt: assignment.attempt,
            fence: assignment.fence,
            from_layers: texts(&assignment.from_layers),
            keep_files: assignment.keep_files,
            source,
            log_offset: assignment.log_offset,
            repository_key: assignment.run.repository_key,
            plan: assignment.run.plan,
        }
    }
}

#[tonic::async_trait]
impl wire::agent_server::Agent for AgentService {
    async fn claim(&self, request: Request<wire::ClaimRequest>) -> Reply<wire::ClaimReply> {
        let request = request.into_inner();
        let wait = wait(request.wait_ms);
        let claimer = claimer(request)?;
        let claimed = self.agent.claim(&claimer, wait).await.map_err(refuse)?;
        Ok(Response::new(wire::ClaimReply { assignments: self.assignments(claimed) }))
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Reply<wire::RenewReply> {
        let held = self.held(request.metadata())?;
        let request = request.into_inner();
        if let Some(at) = request.started_at {
            self.agent.started(held, Timestamp::from_micros(at)).await.map_err(refuse)?;
        }
        let renewed = self.agent.renew(held, wait(request.wait_ms)).await.map_err(refuse)?;
        Ok(Response::new(wire::RenewReply {
            token: self.token(held, renewed.lease_until),
            lease_until: renewed.lease_until.as_micros(),
            stop: renewed.stop,
        }))
    }

    async fn append_log(
        &self,
        request: Request<wire::AppendLogRequest>,
    ) -> Reply<wire::AppendLogReply> {
        let held = self.held(request.metadata())?;
        let request = request.into_inner();
        if request.data.len() > MAX_CHUNK {
            let problem = format!("at most {MAX_CHUNK} bytes go into one call");
            return Err(FieldError { field: "data", problem }.into());
        }
        let stream = stream(&request)?;
        let data = request.data;
        let (next_offset, is_full) =
            self.agent.append_log(held, stream, request.offset, &data).await.map_err(refuse)?;
        Ok(Response::new(wire::AppendLogReply { next_offset, is_full }))
    }

    async fn complete(
        &self,
        request: Request<wire::CompleteRequest>,
    ) -> Reply<wire::CompleteReply> {
        let held = self.held(request.metadata())?;
        let mut request = request.into_inner();
        let next = request.next.take().map(claimer).transpose()?;
        let log_end = request.log_end;
        let report = report(held, request)?;
        let completed = self.agent.complete(held, report, log_end, next.as_ref()).await;
        let completed = completed.map_err(refuse)?;
        Ok(Response::new(wire::CompleteReply {
            is_first: completed.is_first,
            verdict: completed.verdict.map(|verdict| verdict.to_string()),
            gate_layers: texts(&completed.gate_layers),
            next: self.assignments(completed.next),
        }))
    }
}

fn wait(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds)).min(MAX_WAIT)
}

fn claimer(request: wire::ClaimRequest) -> Result<Claimer, FieldError> {
    if request.owner.is_empty() {
        let problem = "a step must have somebody who holds it".to_owned();
        return Err(FieldError { field: "owner", problem });
    }
    let only = optional_field::<RunId>("run", request.run.as_deref())?;
    let room = room(request.room)?;
    Ok(Claimer { owner: request.owner, only, room })
}

fn room(room: Option<wire::Room>) -> Result<Room, FieldError> {
    let missing = |problem: &str| FieldError { field: "room", problem: problem.to_owned() };
    let room = room.ok_or_else(|| missing("a claim says what there is for steps"))?;
    if room.slots == 0 {
        return Err(missing("a runner works on one step at a time, at least"));
    }
    Ok(Room {
        slots: room.slots,
        share: Share { cpu_millis: room.cpu_millis, memory_bytes: room.memory_bytes },
        available_bytes: room.available_bytes,
        reserve_bytes: room.reserve_bytes,
    })
}

fn stream(request: &wire::AppendLogRequest) -> Result<Stream, FieldError> {
    match request.stream() {
        common::Stream::Stdout => Ok(Stream::Stdout),
        common::Stream::Stderr => Ok(Stream::Stderr),
        common::Stream::Unspecified => {
            let problem = "it is standard output or standard error".to_owned();
            Err(FieldError { field: "stream", problem })
        }
    }
}

fn report(held: Held, request: wire::CompleteRequest) -> Result<StepReport, FieldError> {
    let outcome: Outcome = serde_json::from_str(&request.outcome)
        .map_err(|error| FieldError { field: "outcome", problem: error.to_string() })?;
    let stood_on: Result<Vec<LayerId>, FieldError> =
        request.stood_on.iter().map(|layer| required_field("stood_on", layer)).collect();
    Ok(StepReport {
        step: held.step,
        fence: held.fence,
        outcome,
        started_at: request.started_at.map(Timestamp::from_micros),
        ended_at: Timestamp::from_micros(request.ended_at),
        reports: request.reports,
        note: request.note,
        layer: optional_field::<LayerId>("layer", request.layer.as_deref())?,
        snapshot: optional_field::<SnapshotId>("snapshot", request.snapshot.as_deref())?,
        stood_on: stood_on?,
    })
}

fn texts(layers: &[LayerId]) -> Vec<String> {
    layers.iter().map(ToString::to_string).collect()
}
