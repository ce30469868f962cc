-- What the holder of a claimed step has of the machine; counts as long as the step is claimed.

ALTER TABLE steps ADD COLUMN held_cpu_millis BIGINT NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN held_memory_bytes BIGINT NOT NULL DEFAULT 0;
