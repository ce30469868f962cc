-- Runs, steps, layers, snapshots and live sandboxes.
-- Portable: TEXT ids, BIGINT microseconds, BIGINT 0/1, TEXT JSON.

CREATE TABLE runs (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    repository TEXT NOT NULL,
    repository_key TEXT NOT NULL,
    head_sha TEXT NOT NULL,
    base_sha TEXT,
    branch TEXT,
    dirty BIGINT NOT NULL,
    plan TEXT NOT NULL,
    progress TEXT NOT NULL,
    pull_request_id TEXT,
    request_key TEXT,
    generation BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'ended')),
    result TEXT,
    isolation TEXT,
    unsupported TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    approved_snapshot_id TEXT,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, request_key),
    CHECK ((state = 'ended') = (result IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX runs_by_pull_request ON runs (tenant_id, pull_request_id, created_at, id);
CREATE INDEX runs_by_repository ON runs (tenant_id, repository_key, created_at, id);
CREATE INDEX runs_by_time ON runs (tenant_id, created_at, id);
CREATE INDEX runs_by_state ON runs (state);

CREATE TABLE steps (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('setup', 'gate')),
    blocking BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'ready', 'claimed', 'ended')),
    attempts BIGINT NOT NULL,
    infra_retries BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    owner TEXT,
    lease_until BIGINT,
    queued_at BIGINT NOT NULL,
    claimed_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    result TEXT,
    reason TEXT,
    exit_code BIGINT,
    signal BIGINT,
    reports TEXT,
    snapshot_id TEXT,
    accepted_fence BIGINT, -- under which fence its holder reported the result
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, run_id, kind, name),
    FOREIGN KEY (tenant_id, run_id) REFERENCES runs (tenant_id, id),
    CHECK ((state = 'claimed') = (owner IS NOT NULL)),
    CHECK ((state = 'claimed') = (lease_until IS NOT NULL)),
    CHECK ((state = 'ended') = (result IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX steps_by_state ON steps (state, queued_at);

CREATE TABLE layers (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    tier TEXT NOT NULL,
    kind TEXT NOT NULL,
    layer_key TEXT,
    state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'deleted')),
    owner TEXT,
    lease_until BIGINT,
    fence BIGINT NOT NULL,
    digest TEXT,
    bytes BIGINT,
    files BIGINT,
    base_fingerprint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 'building') = (owner IS NOT NULL)),
    CHECK (state <> 'ready' OR digest IS NOT NULL)
);
-- A removed layer keeps its row and gives its key free.
CREATE UNIQUE INDEX layers_by_key ON layers (tenant_id, tier, kind, layer_key) WHERE state <> 'deleted';
CREATE INDEX layers_by_use ON layers (tenant_id, state, last_used_at);

CREATE TABLE snapshots (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    repository_key TEXT NOT NULL,
    run_id TEXT NOT NULL,
    gate TEXT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sealing', 'local', 'deleted')),
    bytes BIGINT,
    base_fingerprint TEXT NOT NULL,
    entry TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    deleted_at BIGINT,
    pinned BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES runs (tenant_id, id),
    CHECK (state <> 'local' OR bytes IS NOT NULL),
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);
CREATE INDEX snapshots_by_repository ON snapshots (tenant_id, repository_key, created_at, id);
CREATE INDEX snapshots_by_time ON snapshots (tenant_id, created_at, id);
CREATE INDEX snapshots_by_run ON snapshots (tenant_id, run_id);
CREATE INDEX snapshots_by_expiry ON snapshots (state, expires_at);

CREATE TABLE snapshot_layers (
    tenant_id TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    layer_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, snapshot_id, position),
    FOREIGN KEY (tenant_id, snapshot_id) REFERENCES snapshots (tenant_id, id),
    FOREIGN KEY (tenant_id, layer_id) REFERENCES layers (tenant_id, id)
);
CREATE INDEX snapshot_layers_by_layer ON snapshot_layers (tenant_id, layer_id);

CREATE TABLE live_sandboxes (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    run_id TEXT,
    step_id TEXT,
    holder_pid BIGINT NOT NULL,
    holder_boot_id TEXT NOT NULL,
    holder_start_ticks BIGINT NOT NULL,
    scratch TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, scratch)
);

CREATE TABLE live_sandbox_layers (
    tenant_id TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    layer_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sandbox_id, position),
    FOREIGN KEY (tenant_id, sandbox_id) REFERENCES live_sandboxes (tenant_id, id),
    FOREIGN KEY (tenant_id, layer_id) REFERENCES layers (tenant_id, id)
);
CREATE INDEX live_sandbox_layers_by_layer ON live_sandbox_layers (tenant_id, layer_id);
