-- Known repositories, pull requests, and what we show under them.

CREATE TABLE repositories (
    tenant_id TEXT NOT NULL,
    repository_key TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    default_branch TEXT,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, repository_key)
);

CREATE TABLE pull_requests (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    repository_key TEXT NOT NULL,
    repository TEXT NOT NULL,
    number BIGINT NOT NULL,
    state TEXT NOT NULL,
    revision BIGINT NOT NULL,
    head_sha TEXT NOT NULL,
    head_branch TEXT NOT NULL,
    is_open BIGINT NOT NULL,
    answered_revision BIGINT NOT NULL, -- the last one with a run, or with the reason why it has none
    run_id TEXT,
    is_settled BIGINT NOT NULL,        -- all that is to be said about that revision is planned
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, repository_key, number)
);
CREATE INDEX pull_requests_by_time ON pull_requests (tenant_id, created_at, id);
CREATE INDEX pull_requests_by_repository ON pull_requests (tenant_id, repository_key, created_at, id);
CREATE INDEX pull_requests_unsettled ON pull_requests (tenant_id, updated_at) WHERE is_settled = 0;

-- What is wanted last (digest, wanted_version), and what is written (content, version).
CREATE TABLE postings (
    tenant_id TEXT NOT NULL,
    target TEXT NOT NULL,
    slot TEXT NOT NULL,
    wanted_digest TEXT NOT NULL,
    wanted_version BIGINT NOT NULL,
    version BIGINT NOT NULL,
    content TEXT,
    written_at BIGINT,
    PRIMARY KEY (tenant_id, target, slot),
    CHECK ((version = 0) = (content IS NULL))
);
