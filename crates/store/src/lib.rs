//! The database of Sandgate: migrations, and one repository an aggregate. The only crate that contains SQL.
//!
//! Domain values go in and come out; rows and statements are private. Every repository belongs to one tenant. Every change
//! of state is a conditional update that says whether it changed anything, so that several processes may share a database
//! and none has to be believed.
//!
//! The statements keep to what SQLite and PostgreSQL have in common: text ids, 64-bit microseconds, JSON as text.

mod database;
mod error;
mod layers;
mod live_sandboxes;
mod migrations;
mod page;
mod row;
mod runs;
mod snapshots;
mod steps;
mod text;

use std::path::Path;

use sandgate_domain::{Clock, TenantId};

pub use error::Error;
pub use layers::{BuildClaim, LayerRequest, Layers};
pub use live_sandboxes::LiveSandboxes;
pub use page::{Cursor, Page, PageRequest, ParseCursorError};
pub use runs::Runs;
pub use snapshots::Snapshots;
pub use steps::{Acceptance, Claim, Retry, Steps};

use database::Database;

/// An open database. Cheap to clone; all clones share the same connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the database file at `path`, makes it if it is missing, and brings it to the schema of this version.
    ///
    /// Several processes may open the same file at the same time. The folder must exist and lie on a local file system.
    pub async fn open(path: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        let database = Database::open(path).await?;
        migrations::apply(&database, clock).await?;
        Ok(Self { database })
    }

    /// Closes all connections, after the statements under way. Not needed for durability: what was committed stays.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// The runs of a tenant.
    pub fn runs(&self, tenant: &TenantId) -> Runs {
        Runs::new(self.database.clone(), tenant.clone())
    }

    /// The steps of a tenant.
    pub fn steps(&self, tenant: &TenantId) -> Steps {
        Steps::new(self.database.clone(), tenant.clone())
    }

    /// The snapshots of a tenant.
    pub fn snapshots(&self, tenant: &TenantId) -> Snapshots {
        Snapshots::new(self.database.clone(), tenant.clone())
    }

    /// The layers of a tenant.
    pub fn layers(&self, tenant: &TenantId) -> Layers {
        Layers::new(self.database.clone(), tenant.clone())
    }

    /// The sandboxes that live on this machine, of all tenants.
    pub fn live_sandboxes(&self) -> LiveSandboxes {
        LiveSandboxes::new(self.database.clone())
    }
}
