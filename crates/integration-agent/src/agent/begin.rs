//! The begin of a run: its start and its first steps in one transaction, whatever happened before.

use sandgate_domain::{IsolationSummary, RunId};
use sandgate_engine::run::{Input, Phase};

use super::advance::Aftermath;
use super::{Agent, Saved};
use crate::error::Error;

impl Agent {
    /// Lets a run begin. One that has begun stays as it is.
    ///
    /// # Errors
    /// If there is no such run, or the database refuses.
    pub async fn begin(&self, run: RunId, isolation: &IsolationSummary) -> Result<(), Error> {
        let parts = &self.inner.parts;
        let transaction = parts.store.begin().await?;
        let runs = transaction.runs(&parts.tenant);
        runs.start(run, isolation, parts.clock.now()).await?;
        let row = runs.get(run).await?.ok_or(Error::NoRun(run))?;
        let saved: Saved = serde_json::from_str(&row.progress)?;
        let mut after = Aftermath::default();
        if saved.state.phase == Phase::Planned {
            self.inner.advance(&transaction, &row, vec![Input::Begin], None, &mut after).await?;
        }
        self.inner.commit(transaction, run, &after).await?;
        Ok(())
    }
}
