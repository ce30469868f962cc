//! The gRPC side: parse, call one function, convert the reply.

use std::time::Duration;

use sandgate_domain::{
    ErrorCode, LayerContent, LayerId, RunId, Snapshot, SnapshotId, SnapshotState, Timestamp,
};
use sandgate_store::{Cursor, PageRequest};
use sandgate_wire::snapshots::v1 as wire;
use sandgate_wire::{FieldError, optional_field, required_field, status, status_with_causes};
use tonic::{Request, Response, Status};

use crate::{Error, LayerTurn, LayerWanted, SnapshotDraft, SnapshotService};

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

    async fn record(&self, request: Request<wire::RecordRequest>) -> Reply<wire::Snapshot> {
        let draft = draft(request.into_inner())?;
        let id = SnapshotService::record(self, draft).await.map_err(refuse)?;
        let snapshot = SnapshotService::get(self, id).await.map_err(refuse)?;
        Ok(Response::new(view(&snapshot)))
    }
}

#[tonic::async_trait]
impl wire::layers_server::Layers for SnapshotService {
    async fn take_turn(
        &self,
        request: Request<wire::TakeTurnRequest>,
    ) -> Reply<wire::TakeTurnReply> {
        let wanted = wanted(request.into_inner().wanted)?;
        let turn = SnapshotService::take_turn(self, &wanted).await.map_err(refuse)?;
        Ok(Response::new(match turn {
            LayerTurn::Ready(layer) => {
                wire::TakeTurnReply { layer: layer.to_string(), build: None }
            }
            LayerTurn::Build { layer, fence } => {
                wire::TakeTurnReply { layer: layer.to_string(), build: Some(fence) }
            }
        }))
    }

    async fn find_layer(
        &self,
        request: Request<wire::FindLayerRequest>,
    ) -> Reply<wire::FindLayerReply> {
        let wanted = wanted(request.into_inner().wanted)?;
        let found = SnapshotService::find_layer(self, &wanted).await.map_err(refuse)?;
        Ok(Response::new(wire::FindLayerReply { layer: found.map(|layer| layer.to_string()) }))
    }

    async fn renew_build(
        &self,
        request: Request<wire::RenewBuildRequest>,
    ) -> Reply<wire::RenewBuildReply> {
        let wire::RenewBuildRequest { layer, build } = request.into_inner();
        let layer: LayerId = required_field("layer", &layer)?;
        SnapshotService::renew_build(self, layer, build).await.map_err(refuse)?;
        Ok(Response::new(wire::RenewBuildReply {}))
    }

    async fn finish_build(
        &self,
        request: Request<wire::FinishBuildRequest>,
    ) -> Reply<wire::FinishBuildReply> {
        let request = request.into_inner();
        let layer: LayerId = required_field("layer", &request.layer)?;
        let content =
            LayerContent { digest: request.digest, bytes: request.bytes, files: request.files };
        self.finish_layer(layer, request.build, &content).await.map_err(refuse)?;
        Ok(Response::new(wire::FinishBuildReply {}))
    }

    async fn abandon_build(
        &self,
        request: Request<wire::AbandonBuildRequest>,
    ) -> Reply<wire::AbandonBuildReply> {
        let wire::AbandonBuildRequest { layer, build } = request.into_inner();
        let layer: LayerId = required_field("layer", &layer)?;
        self.abandon_layer(layer, build).await.map_err(refuse)?;
        Ok(Response::new(wire::AbandonBuildReply {}))
    }

    async fn give_up_layer(
        &self,
        request: Request<wire::GiveUpLayerRequest>,
    ) -> Reply<wire::GiveUpLayerReply> {
        let layer: LayerId = required_field("layer", &request.into_inner().layer)?;
        SnapshotService::give_up_layer(self, layer).await.map_err(refuse)?;
        Ok(Response::new(wire::GiveUpLayerReply {}))
    }

    async fn forget_layers(
        &self,
        request: Request<wire::ForgetLayersRequest>,
    ) -> Reply<wire::ForgetLayersReply> {
        let layers = layers(&request.into_inner().layers)?;
        let forgotten = self.forget_unfindable(&layers).await.map_err(refuse)?;
        let forgotten = forgotten.iter().map(ToString::to_string).collect();
        Ok(Response::new(wire::ForgetLayersReply { forgotten }))
    }
}

fn layers(texts: &[String]) -> Result<Vec<LayerId>, FieldError> {
    texts.iter().map(|text| required_field("layers", text)).collect()
}

fn wanted(wanted: Option<wire::LayerWanted>) -> Result<LayerWanted, Status> {
    let wanted =
        wanted.ok_or_else(|| status(ErrorCode::InvalidArgument, "field `wanted` is missing"))?;
    Ok(LayerWanted {
        kind: required_field("wanted.kind", &wanted.kind)?,
        key: wanted.key,
        tier: required_field("wanted.tier", &wanted.tier)?,
        base_fingerprint: wanted.base_fingerprint,
    })
}

fn draft(request: wire::RecordRequest) -> Result<SnapshotDraft, Status> {
    let entry = serde_json::from_str(&request.entry)
        .map_err(|error| FieldError { field: "entry", problem: error.to_string() })?;
    Ok(SnapshotDraft {
        repository_key: request.repository,
        run: required_field("run", &request.run)?,
        gate: request.gate,
        kind: required_field("kind", &request.kind)?,
        layers: layers(&request.layers)?,
        bytes: request.bytes,
        base_fingerprint: request.base_fingerprint,
        entry,
        keep: request.keep_ms.map(Duration::from_millis),
    })
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
    status_with_causes(error.code(), &error)
}
