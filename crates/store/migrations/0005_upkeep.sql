-- Every head that a pull request ever had, with its trust; when a pull request is looked at again; what is removed in time.

CREATE TABLE pull_request_heads (
    tenant_id TEXT NOT NULL,
    repository_key TEXT NOT NULL,
    sha TEXT NOT NULL,
    pull_request_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    is_approved BIGINT NOT NULL, -- somebody looked at exactly this commit and let it run
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, repository_key, sha, pull_request_id)
);
CREATE INDEX pull_request_heads_by_time ON pull_request_heads (tenant_id, repository_key, seen_at);

ALTER TABLE pull_requests ADD COLUMN sweep_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pull_requests ADD COLUMN times_asked BIGINT NOT NULL DEFAULT 0;
DROP INDEX pull_requests_unsettled;
CREATE INDEX pull_requests_unsettled ON pull_requests (tenant_id, sweep_at) WHERE is_settled = 0;
CREATE INDEX pull_requests_by_head ON pull_requests (tenant_id, repository_key, head_sha);

CREATE INDEX inbox_with_body ON inbox (tenant_id, received_at) WHERE body <> '';
CREATE INDEX inbox_by_time ON inbox (tenant_id, received_at);
CREATE INDEX bus_dead_letters_by_time ON bus_dead_letters (died_at);
CREATE INDEX snapshots_by_kind ON snapshots (tenant_id, kind, state, created_at);
