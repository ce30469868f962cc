-- The log of the embedded bus, outboxes, consumed events, the inbox and effects on the outside.

CREATE TABLE bus_counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO bus_counters (name, value) VALUES ('last_seq', 0);

CREATE TABLE bus_events (
    seq BIGINT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    UNIQUE (tenant_id, message_id)
);
CREATE INDEX bus_events_by_time ON bus_events (published_at);

CREATE TABLE bus_subscriptions (
    name TEXT PRIMARY KEY,
    filters TEXT NOT NULL,
    lease_micros BIGINT NOT NULL,
    max_deliveries BIGINT NOT NULL,
    position BIGINT NOT NULL
);

-- A row while a message is in somebody's hands or waits to be tried again; none once it is acknowledged.
CREATE TABLE bus_deliveries (
    subscription TEXT NOT NULL,
    seq BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    is_leased BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    reason TEXT,
    PRIMARY KEY (subscription, seq),
    FOREIGN KEY (subscription) REFERENCES bus_subscriptions (name)
);
CREATE INDEX bus_deliveries_by_due ON bus_deliveries (subscription, due_at);
CREATE INDEX bus_deliveries_by_seq ON bus_deliveries (seq);

CREATE TABLE bus_dead_letters (
    subscription TEXT NOT NULL,
    seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    deliveries BIGINT NOT NULL,
    reason TEXT NOT NULL,
    died_at BIGINT NOT NULL,
    PRIMARY KEY (subscription, seq)
);

CREATE TABLE outbox (
    tenant_id TEXT NOT NULL,
    service TEXT NOT NULL,
    event_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    subject TEXT NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    published_at BIGINT,
    PRIMARY KEY (tenant_id, service, event_id)
);
CREATE INDEX outbox_unpublished ON outbox (service, position) WHERE published_at IS NULL;
CREATE INDEX outbox_by_position ON outbox (service, position);
CREATE INDEX outbox_published ON outbox (service, published_at);

CREATE TABLE seen_events (
    tenant_id TEXT NOT NULL,
    subscription TEXT NOT NULL,
    event_id TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, subscription, event_id)
);
CREATE INDEX seen_events_by_time ON seen_events (subscription, seen_at);

CREATE TABLE inbox (
    tenant_id TEXT NOT NULL,
    source TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    semantic_key TEXT,
    repository TEXT,
    position BIGINT NOT NULL, -- counts up as deliveries come
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('queued', 'succeeded', 'ignored', 'failed')),
    reason TEXT,
    received_at BIGINT NOT NULL,
    settled_at BIGINT,
    PRIMARY KEY (tenant_id, source, delivery_id)
);
CREATE INDEX inbox_by_meaning ON inbox (tenant_id, source, semantic_key);
CREATE UNIQUE INDEX inbox_by_position ON inbox (tenant_id, position);
CREATE INDEX inbox_by_outcome ON inbox (tenant_id, outcome, received_at);

CREATE TABLE effects (
    tenant_id TEXT NOT NULL,
    effect_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'sent', 'unknown', 'confirmed')),
    attempts BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    lease_until BIGINT,
    remote_id TEXT,
    reason TEXT,
    planned_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    PRIMARY KEY (tenant_id, effect_key),
    CHECK ((state = 'sent') = (lease_until IS NOT NULL)),
    CHECK ((state = 'confirmed') = (confirmed_at IS NOT NULL))
);
CREATE INDEX effects_by_state ON effects (tenant_id, state, planned_at);
