//! The gRPC side: parse, call one function, convert the reply.

use sandgate_domain::{RunId, Snapshot, SnapshotId, SnapshotState, Timestamp};
use sandgate_store::{Cursor, PageRequest};
use sandgate_wire::snapshots::v1 as wire;
use sandgate_wire::{optional_field, required_field, status};
use tonic::{Request, Response, Status};

use crate::{Error, SnapshotService};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl wire::snapshots_server::Snapshots for SnapshotService {
    async fn get(&self, request: Request<wire::GetSnapshotRequest>) -> Reply<wire::Snapshot> {
        let id: SnapshotId = required_field("id", &request.into_inner().id)?;
        let snapshot = SnapshotService::get(self, id).await.map_err(refuse)?;
        Ok(Response::new(view(&snapshot)))
    }

    async fn list(
        &self,
        request: Request<wire::ListSnapshotsRequest>,
    ) -> Reply<wire::ListSnapshotsReply> {
        let request = request.into_inner();
        if let Some(run) = optional_field::<RunId>("run", request.run.as_deref())? {
            let all = self.of_run(run).await.map_err(refuse)?;
            let snapshots = all.iter().map(view).collect();
            return Ok(Response::new(wire::ListSnapshotsReply {
                snapshots,
                next_page_token: None,
            }));
        }
        let page = PageRequest {
            after: optional_field::<Cursor>("page_token", request.page_token.as_deref())?,
            limit: request.page_size,
        };
        let key = request.repository.map(|name| name.to_lowercase());
        let page = SnapshotService::list(self, key.as_deref(), &page).await.map_err(refuse)?;
        Ok(Response::new(wire::ListSnapshotsReply {
            snapshots: page.items.iter().map(view).collect(),
            next_page_token: page.next.map(|cursor| cursor.to_string()),
        }))
    }

    async fn delete(&self, request: Request<wire::DeleteSnapshotRequest>) -> Reply<wire::Snapshot> {
        let id: SnapshotId = required_field("id", &request.into_inner().id)?;
        let snapshot = SnapshotService::get(self, id).await.map_err(refuse)?;
        SnapshotService::delete(self, id).await.map_err(refuse)?;
        Ok(Response::new(wire::Snapshot { state: "deleted".to_owned(), ..view(&snapshot) }))
    }
}

fn view(snapshot: &Snapshot) -> wire::Snapshot {
    let bytes = match snapshot.state {
        SnapshotState::Local { bytes } => bytes,
        SnapshotState::Sealing | SnapshotState::Deleted { .. } => 0,
    };
    wire::Snapshot {
        id: snapshot.id.to_string(),
        repository: snapshot.repository_key.clone(),
        run: snapshot.run.to_string(),
        gate: snapshot.gate.clone(),
        kind: snapshot.kind.to_string(),
        state: snapshot.state.name().to_owned(),
        layers: snapshot.layers.iter().map(ToString::to_string).collect(),
        base_fingerprint: snapshot.base_fingerprint.clone(),
        entry: serde_json::to_string(&snapshot.entry).unwrap_or_default(),
        created_at: snapshot.created_at.as_micros(),
        expires_at: snapshot.expires_at.map(Timestamp::as_micros),
        pinned: snapshot.pinned,
        bytes,
    }
}

fn refuse(error: Error) -> Status {
    tracing::debug!(%error, "a request about snapshots was refused");
    status(error.code(), error.to_string())
}
