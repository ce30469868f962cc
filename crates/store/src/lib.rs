//! The database of Sandgate: migrations, and one repository an aggregate. The only crate that contains SQL.
//!
//! Domain values go in and come out; rows and statements are private. Every repository belongs to one tenant. Every change
//! of state is a conditional update that says whether it changed anything, so that several processes may share a database
//! and none has to be believed.
//!
//! The statements keep to what SQLite and PostgreSQL have in common: text ids, 64-bit microseconds, JSON as text.

mod database;
mod effects;
mod error;
mod event_log;
mod inbox;
mod known_repositories;
mod layers;
mod live_sandboxes;
mod migrations;
mod outbox;
mod page;
mod postings;
mod pull_requests;
mod repositories;
mod row;
mod runs;
mod seen;
mod session;
mod snapshots;
mod steps;
mod text;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use sandgate_domain::Clock;

pub use effects::{Effect, EffectState, Effects, Take};
pub use error::Error;
pub use event_log::{
    DeadLetter, EventLog, Fetched, Lease, NewMessage, Operation, Outcome, StoredMessage,
    SubscriptionRow,
};
pub use inbox::{Arrival, ArrivalSummary, Inbox, InboxAnswer, InboxOutcome};
pub use known_repositories::{KnownRepositories, KnownRepository};
pub use layers::{BuildClaim, LayerRequest, Layers};
pub use live_sandboxes::LiveSandboxes;
pub use outbox::{Outbox, OutboxMessage};
pub use page::{Cursor, Page, PageRequest, ParseCursorError};
pub use postings::{Posting, Postings};
pub use pull_requests::{PullRequestFilter, PullRequestHead, PullRequests, StoredPullRequest};
pub use repositories::Repositories;
pub use runs::{RunFilter, Runs};
pub use seen::Seen;
pub use snapshots::Snapshots;
pub use steps::{Acceptance, Claim, HandedOut, Retry, Steps};

use database::Database;
use session::{Open, Session};

/// An open database. Cheap to clone; all clones share the same connections. Gives the repositories, each of whose calls is
/// a transaction of its own.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    repositories: Repositories,
}

impl Store {
    /// Opens the database file at `path`, makes it if it is missing, and brings it to the schema of this version.
    ///
    /// Several processes may open the same file at the same time. The folder must exist and lie on a local file system.
    pub async fn open(path: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        let database = Database::open(path).await?;
        migrations::apply(&database, clock).await?;
        let repositories = Repositories::new(Session::Each(database.clone()));
        Ok(Self { database, repositories })
    }

    /// Begins a transaction that spans several repositories. It holds the only writer: keep it short, and don't write
    /// through the store before it is over.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let open = Arc::new(Open::new(self.database.write("beginning a transaction").await?));
        let repositories = Repositories::new(Session::Together(Arc::clone(&open)));
        Ok(Transaction { open, repositories })
    }

    /// Closes all connections, after the statements under way. Not needed for durability: what was committed stays.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

impl Deref for Store {
    type Target = Repositories;

    fn deref(&self) -> &Repositories {
        &self.repositories
    }
}

/// A transaction that spans several repositories. Undone when dropped without [`commit`](Transaction::commit), and when a
/// call in it fails with anything but a stale fence.
#[derive(Debug)]
pub struct Transaction {
    open: Arc<Open>,
    repositories: Repositories,
}

impl Transaction {
    /// Keeps all that was written.
    pub async fn commit(self) -> Result<(), Error> {
        self.open.commit().await
    }
}

impl Deref for Transaction {
    type Target = Repositories;

    fn deref(&self) -> &Repositories {
        &self.repositories
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.open.abandon();
    }
}
