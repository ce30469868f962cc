//! Files that a sandbox wrote, one a message.

use sandgate_domain::SandboxId;
use sandgate_wire::node::v1 as wire;
use sandgate_wire::required_field;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use wire::read_files_reply::{File, Found as Item};

use super::refuse;
use crate::node::Node;
use crate::reports::ReadLimits;

/// How many messages wait for the caller.
const WINDOW: usize = 2;

pub(super) async fn read(
    node: &Node,
    request: wire::ReadFilesRequest,
) -> Result<Response<ReceiverStream<Result<wire::ReadFilesReply, Status>>>, Status> {
    let id: SandboxId = required_field("sandbox", &request.sandbox)?;
    let limits = ReadLimits {
        files: request.max_files as usize,
        bytes: request.max_bytes,
        total_bytes: request.max_total_bytes,
    };
    let live = node.live(id).await.map_err(refuse)?;
    let found = live.read_files(request.globs, limits).await.map_err(refuse)?;
    let (sender, received) = mpsc::channel(WINDOW);
    tokio::spawn(async move {
        let files = found.files.into_iter();
        let files = files.map(|(path, content)| Item::File(File { path, content: content.into() }));
        let left_out = found.left_out.into_iter().map(Item::LeftOut);
        for item in files.chain(left_out) {
            let message = wire::ReadFilesReply { found: Some(item) };
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(received)))
}
