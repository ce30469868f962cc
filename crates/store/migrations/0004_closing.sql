-- The end of a run in which everything passed is a step of its own, of the kind `close`.

CREATE TABLE steps_with_close (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('setup', 'gate', 'close')),
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
INSERT INTO steps_with_close (
    tenant_id, id, run_id, name, kind, blocking, state, attempts, infra_retries, fence, owner, lease_until,
    queued_at, claimed_at, started_at, ended_at, result, reason, exit_code, signal, reports, snapshot_id,
    accepted_fence
)
SELECT
    tenant_id, id, run_id, name, kind, blocking, state, attempts, infra_retries, fence, owner, lease_until,
    queued_at, claimed_at, started_at, ended_at, result, reason, exit_code, signal, reports, snapshot_id,
    accepted_fence
FROM steps;
DROP TABLE steps;
ALTER TABLE steps_with_close RENAME TO steps;
CREATE INDEX steps_by_state ON steps (state, queued_at);
