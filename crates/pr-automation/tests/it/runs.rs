//! The service of runs, in memory: what the tests put there can be read and listed.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use sandgate_domain::{ErrorCode, RunId};
use sandgate_wire::runs::v1::runs_server::Runs;
use sandgate_wire::runs::v1::*;
use sandgate_wire::status;
use tonic::{Request, Response, Status};
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Vec<Run>>>, Arc<Mutex<Vec<String>>>);

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Held {
    /// Adds a run, or replaces the one with its id.
    pub fn put(&self, run: &Run) {
        let mut held = self.0.lock().unwrap();
        held.retain(|known| known.id != run.id);
        held.push(run.clone());
    }

    /// From now on runs of this pull request can't be listed.
    pub fn fail(&self, pull: &str) {
        self.1.lock().unwrap().push(pull.to_owned());
    }
}

pub fn run_id(number: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(number))
}

/// A run under way of one revision, with one gate.
pub fn run(number: u128, pull: &str, generation: u32) -> Run {
    let id = run_id(number).to_string();
    let gate = Gate {
        id: format!("step_{number:032x}"),
        name: "unit".to_owned(),
        state: "claimed".to_owned(),
        blocking: true,
        attempts: 1,
        queued_at: 1,
        started_at: Some(1_000),
        run: id.clone(),
        ..Gate::default()
    };
    Run {
        id,
        repository: "acme/web".to_owned(),
        state: "running".to_owned(),
        created_at: 1,
        started_at: Some(1_000),
        gates: vec![gate],
        pull_request: Some(pull.to_owned()),
        generation,
        ..Run::default()
    }
}

/// The same run with a verdict.
pub fn ended(run: &Run, result: &str) -> Run {
    let mut ended = run.clone();
    ended.state = "ended".to_owned();
    ended.result = Some(result.to_owned());
    ended.ended_at = Some(5_000_000);
    ended.gates[0].state = "ended".to_owned();
    ended.gates[0].result = Some(result.to_owned());
    ended.gates[0].ended_at = Some(4_000_000);
    if result == "failure" {
        let reports = r#"{"tests":12,"failed":1,"failures":[{"name":"adds","file":"src/add.rs","line":7,"message":"1 != 2"}]}"#;
        ended.gates[0].reports = Some(reports.to_owned());
        ended.gates[0].snapshot = Some("snap_00000000000000000000000000000009".to_owned());
    }
    ended
}

fn not_here<T>() -> Answer<T> {
    Err(status(ErrorCode::Unsupported, "these runs can only be read"))
}

#[tonic::async_trait]
impl Runs for Held {
    type WatchStream = Streamed<RunEvent>;
    type ReadLogStream = Streamed<LogChunk>;

    async fn get(&self, request: Request<GetRunRequest>) -> Answer<Run> {
        let id = request.into_inner().id;
        let held = self.0.lock().unwrap();
        let found = held.iter().find(|run| run.id == id).cloned();
        found.map(Response::new).ok_or_else(|| status(ErrorCode::NotFound, "no such run"))
    }

    async fn list(&self, request: Request<ListRunsRequest>) -> Answer<ListRunsReply> {
        let wanted = request.into_inner();
        if self.1.lock().unwrap().iter().any(|pull| wanted.pull_request.as_ref() == Some(pull)) {
            return Err(status(ErrorCode::Internal, "a row can't be read"));
        }
        let held = self.0.lock().unwrap();
        let matches = held.iter().filter(|run| run.pull_request == wanted.pull_request).cloned();
        let mut runs: Vec<Run> = matches.collect();
        runs.sort_by(|one, other| other.id.cmp(&one.id));
        runs.truncate(wanted.page_size as usize);
        Ok(Response::new(ListRunsReply { runs, next_page_token: None }))
    }

    async fn create_from_commit(
        &self,
        _: Request<CreateFromCommitRequest>,
    ) -> Answer<CreateRunReply> {
        not_here()
    }

    async fn cancel(&self, _: Request<CancelRunRequest>) -> Answer<Run> {
        not_here()
    }

    async fn rerun(&self, _: Request<RerunRequest>) -> Answer<Run> {
        not_here()
    }

    async fn get_gate(&self, _: Request<GetGateRequest>) -> Answer<Gate> {
        not_here()
    }

    async fn watch(&self, _: Request<GetRunRequest>) -> Answer<Self::WatchStream> {
        not_here()
    }

    async fn read_log(&self, _: Request<ReadLogRequest>) -> Answer<Self::ReadLogStream> {
        not_here()
    }
}
