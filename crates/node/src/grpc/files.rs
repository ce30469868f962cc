//! Files that a sandbox wrote, one a message.

use sandgate_wire::node::v1 as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use wire::read_files_reply::{File, Found as Item};

use super::refuse;
use crate::live_sandboxes::LiveGuard;
use crate::reports::ReadLimits;

/// How many messages wait for the caller.
const WINDOW: usize = 2;

pub(super) async fn read(
    live: &LiveGuard,
    request: wire::ReadFilesRequest,
) -> Result<Response<ReceiverStream<Result<wire::ReadFilesReply, Status>>>, Status> {
    let limits = ReadLimits {
        files: request.max_files as usize,
        bytes: request.max_bytes,
        total_bytes: request.max_total_bytes,
    };
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
