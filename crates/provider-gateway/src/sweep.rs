//! Sweeping what killed processes left: rows, writable layers, files. Their processes died with them.

use std::collections::HashSet;

use sandgate_wire::node::v1::DestroySandboxRequest;

use crate::{Error, Gateway, is_alive};

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sandboxes whose process is gone.
    pub sandboxes: usize,
}

impl Gateway {
    /// Removes the sandboxes whose process is gone, and all of their files. Sandboxes of living processes are left alone.
    ///
    /// # Errors
    /// If the database refuses, or a file can't be removed.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut seen = HashSet::new();
        for row in self.store.live_sandboxes().list().await? {
            if !seen.insert(row.id) || is_alive(&row.holder)? {
                continue;
            }
            let step = row.step.map(|step| step.to_string());
            let request = DestroySandboxRequest { sandbox: row.id.to_string(), step };
            self.node.clone().destroy_sandbox(request).await?;
            self.store.live_sandboxes().remove(&row.tenant, row.id).await?;
            swept.sandboxes += 1;
            tracing::info!(sandbox.id = %row.id, "swept a sandbox whose process is gone");
        }
        Ok(swept)
    }
}
