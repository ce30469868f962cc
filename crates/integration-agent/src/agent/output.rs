//! What steps write: into the log, and to whoever watches.

use super::Agent;
use super::assignment::Held;
use crate::error::Error;
use crate::open_logs;
use crate::progress::{Progress, Stream};

/// How many pieces of output wait for a slow watcher: at most 256 KiB each.
const OUTPUT_BUFFER: usize = 32;

impl Agent {
    /// Appends what a step wrote. Where the next byte goes, and whether nobody needs the bytes themselves any more.
    ///
    /// # Errors
    /// If the claim is stale, bytes before it are missing, or the database refuses.
    pub(crate) async fn append_log(
        &self,
        held: Held,
        stream: Stream,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(u64, bool), Error> {
        let logs = &self.inner.open_logs;
        let log = match logs.believed(held) {
            Some(log) => log,
            None => {
                let (step, _) = self.holding(held).await?;
                logs.checked(held, &step.name)
            }
        };
        let (appended, step) = {
            let mut log = open_logs::lock(&log);
            (log.append(stream, offset, bytes)?, log.name.clone())
        };
        let watchers = self.inner.watchers(held.run);
        let is_watched = watchers.as_ref().is_some_and(|watchers| watchers.receiver_count() > 0);
        let fresh = &bytes[appended.known..];
        // What a slow watcher can't take in is in the log; the room that is left is for changes of state.
        if let Some(watchers) = watchers.filter(|watchers| watchers.len() < OUTPUT_BUFFER)
            && is_watched
            && !fresh.is_empty()
        {
            // A watcher that left meanwhile is fine.
            let _watchers = watchers.send(Progress::Output { step, stream, bytes: fresh.to_vec() });
        }
        Ok((appended.next_offset, appended.is_full && !is_watched))
    }
}
