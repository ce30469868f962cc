//! Subjects: `sandgate.v1.<entity>.<event>.<tenant>`. The `v1` is that of the envelope. Nothing else puts one together.

use sandgate_domain::{Event, EventType, TenantId};

const PREFIX: &str = "sandgate.v1";

/// The subject of an event.
pub fn of(event: &Event) -> String {
    exact(&event.kind, &event.tenant)
}

/// The subject of events of a kind, of one tenant.
pub fn exact(kind: &EventType, tenant: &TenantId) -> String {
    format!("{PREFIX}.{}.{}.{tenant}", kind.entity(), kind.event())
}

/// A filter for one event of an entity, of all tenants.
pub fn every(kind: &EventType) -> String {
    format!("{PREFIX}.{}.{}.*", kind.entity(), kind.event())
}

/// A filter for all events of an entity, of all tenants. The entity is a word of `a-z`, `0-9` and `_`.
pub fn entity(entity: &str) -> String {
    format!("{PREFIX}.{entity}.*.*")
}

/// A filter for all events.
pub fn all() -> String {
    format!("{PREFIX}.>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_filters() {
        let kind = EventType::new("run", "ended", 2).unwrap();
        let tenant = TenantId::default();
        assert_eq!(exact(&kind, &tenant), "sandgate.v1.run.ended.default");
        assert_eq!(every(&kind), "sandgate.v1.run.ended.*");
        assert_eq!(entity("run"), "sandgate.v1.run.*.*");
        assert_eq!(all(), "sandgate.v1.>");
    }
}
