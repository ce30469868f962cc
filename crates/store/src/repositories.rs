//! The repositories, over the store or over one open transaction.

use sandgate_domain::TenantId;

use crate::session::Session;
use crate::{
    Effects, EventLog, Inbox, KnownRepositories, Layers, LiveSandboxes, Outbox, Postings,
    PullRequests, Runs, Seen, Snapshots, Steps,
};

/// Gives the repositories.
#[derive(Debug, Clone)]
pub struct Repositories {
    session: Session,
}

impl Repositories {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// The runs of a tenant.
    pub fn runs(&self, tenant: &TenantId) -> Runs {
        Runs::new(self.session.clone(), tenant.clone())
    }

    /// The steps of a tenant.
    pub fn steps(&self, tenant: &TenantId) -> Steps {
        Steps::new(self.session.clone(), tenant.clone())
    }

    /// The snapshots of a tenant.
    pub fn snapshots(&self, tenant: &TenantId) -> Snapshots {
        Snapshots::new(self.session.clone(), tenant.clone())
    }

    /// The layers of a tenant.
    pub fn layers(&self, tenant: &TenantId) -> Layers {
        Layers::new(self.session.clone(), tenant.clone())
    }

    /// The sandboxes that live on this machine, of all tenants.
    pub fn live_sandboxes(&self) -> LiveSandboxes {
        LiveSandboxes::new(self.session.clone())
    }

    /// The source repositories that a tenant made known.
    pub fn known_repositories(&self, tenant: &TenantId) -> KnownRepositories {
        KnownRepositories::new(self.session.clone(), tenant.clone())
    }

    /// The pull requests of a tenant.
    pub fn pull_requests(&self, tenant: &TenantId) -> PullRequests {
        PullRequests::new(self.session.clone(), tenant.clone())
    }

    /// The checks and comments that a tenant's pull requests show.
    pub fn postings(&self, tenant: &TenantId) -> Postings {
        Postings::new(self.session.clone(), tenant.clone())
    }

    /// What arrived from outside for a tenant.
    pub fn inbox(&self, tenant: &TenantId) -> Inbox {
        Inbox::new(self.session.clone(), tenant.clone())
    }

    /// The effects of a tenant on the outside.
    pub fn effects(&self, tenant: &TenantId) -> Effects {
        Effects::new(self.session.clone(), tenant.clone())
    }

    /// The events that a service has to publish, of all tenants.
    pub fn outbox(&self, service: &'static str) -> Outbox {
        Outbox::new(self.session.clone(), service)
    }

    /// The events that a subscription has consumed, of all tenants.
    pub fn seen(&self, subscription: &str) -> Seen {
        Seen::new(self.session.clone(), subscription.to_owned())
    }

    /// The log of the embedded bus.
    pub fn event_log(&self) -> EventLog {
        EventLog::new(self.session.clone())
    }
}
