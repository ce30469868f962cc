//! Questions to the database, asked behind the back of the program.

/// Makes every layer that of a stranger.
pub const DISTRUST_LAYERS: &str = "UPDATE layers SET tier = 'fork'";
/// The id of each run, and its state with its result; the oldest first.
pub const RUNS: &str =
    "SELECT id, state || ' ' || coalesce(result, '-') FROM runs ORDER BY created_at";
/// The state of each run, the oldest first.
pub const RUN_STATES: &str = "SELECT state FROM runs ORDER BY created_at";
/// Everything of all runs.
pub const WHOLE_RUNS: &str = "SELECT * FROM runs";
/// The run, name, state, result and reason of each step, by name.
pub const STEPS: &str = "SELECT run_id, name, state, result, reason FROM steps ORDER BY name";
/// The sandboxes that are written down.
pub const LIVE_SANDBOXES: &str = "SELECT id FROM live_sandboxes";
/// The name and result of each gate, how often a result was accepted, and how often it was executed; by name.
pub const ACCEPTED: &str = "SELECT name, result, count(accepted_fence), max(attempts) FROM steps \
    WHERE kind = 'gate' GROUP BY id ORDER BY name";

/// Whether the database is whole: `ok`.
pub const INTEGRITY: &str = "PRAGMA integrity_check";
/// References to rows that are not there.
pub const FOREIGN_KEYS: &str = "PRAGMA foreign_key_check";
/// The id of each delivery that was taken in.
pub const DELIVERIES: &str = "SELECT delivery_id FROM inbox";
/// What may not change any more: a name, and what was written about it.
pub const SETTLED: &str = "SELECT 'step ' || id, name, result, accepted_fence, ended_at, snapshot_id \
        FROM steps WHERE state = 'ended' \
    UNION ALL SELECT 'run ' || id, result, ended_at, NULL, NULL, NULL FROM runs WHERE state = 'ended' \
    UNION ALL SELECT 'approval of ' || id, approved_snapshot_id, NULL, NULL, NULL, NULL \
        FROM runs WHERE approved_snapshot_id IS NOT NULL";
/// How many steps are in the hands of a runner.
pub const IN_HAND: &str = "SELECT count(*) FROM steps WHERE state = 'claimed'";
/// Everything that is still to be done by itself: what it is, and which. A closed pull request is looked at once more by a
/// sweep, though nothing is left to be done for it.
pub const UNFINISHED: &str = "SELECT 'run', id FROM runs WHERE state <> 'ended' \
    UNION ALL SELECT 'step ' || name, id FROM steps WHERE state <> 'ended' \
    UNION ALL SELECT 'pull request', id FROM pull_requests WHERE is_settled = 0 AND is_open = 1 \
    UNION ALL SELECT 'delivery', delivery_id FROM inbox WHERE outcome NOT IN ('succeeded', 'ignored') \
    UNION ALL SELECT 'publication', event_id FROM outbox WHERE published_at IS NULL \
    UNION ALL SELECT 'event of ' || subscription, seq FROM bus_deliveries \
    UNION ALL SELECT 'dead letter of ' || subscription, reason FROM bus_dead_letters \
    UNION ALL SELECT 'effect', effect_key FROM effects WHERE state <> 'confirmed' \
    UNION ALL SELECT 'posting', target || '/' || slot FROM postings WHERE version <> wanted_version \
    UNION ALL SELECT 'sandbox', id FROM live_sandboxes";
/// The number of each pull request, its revision, its head, and whether it is open.
pub const PULLS: &str = "SELECT number, revision, head_sha, is_open FROM pull_requests";
/// For each run of a pull request its number, the revision, the id and the result.
pub const RUNS_OF_PULLS: &str = "SELECT pull.number, run.generation, run.id, run.result \
    FROM runs run JOIN pull_requests pull ON pull.id = run.pull_request_id";
/// Runs of which more than one event says that they ended.
pub const ENDED_TWICE: &str = "SELECT json_extract(body, '$.data.run') AS run, count(*) FROM bus_events \
    WHERE json_extract(body, '$.type') LIKE '%run.ended%' GROUP BY run HAVING count(*) > 1";
/// Gates that ended by a command of their own without a report that was accepted.
pub const NOT_ACCEPTED: &str = "SELECT run_id, name, result FROM steps \
    WHERE result IN ('success', 'failure', 'error', 'timeout') \
    AND (accepted_fence IS NULL OR accepted_fence > fence)";
/// Failed gates without a snapshot that is there, and runs whose approved snapshot is not there.
pub const MISSING_SNAPSHOTS: &str = "SELECT run_id, name FROM steps \
    WHERE kind = 'gate' AND result = 'failure' \
    AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = steps.snapshot_id AND state = 'local') \
    UNION ALL SELECT id, 'approved' FROM runs WHERE approved_snapshot_id IS NOT NULL \
    AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = runs.approved_snapshot_id AND state = 'local')";
/// How many successful runs have no approved snapshot.
pub const UNAPPROVED: &str =
    "SELECT count(*) FROM runs WHERE result = 'success' AND approved_snapshot_id IS NULL";
/// The runs whose gate `loud` succeeded after the most attempts; three of them.
pub const LOUDEST: &str = "SELECT run_id FROM steps WHERE name = 'loud' AND result = 'success' \
    ORDER BY attempts DESC, id LIMIT 3";
/// Snapshots that neither a gate nor a run knows.
pub const UNUSED_SNAPSHOTS: &str = "SELECT id, kind, run_id, gate FROM snapshots WHERE state = 'local' \
    AND id NOT IN (SELECT snapshot_id FROM steps WHERE snapshot_id IS NOT NULL) \
    AND id NOT IN (SELECT approved_snapshot_id FROM runs WHERE approved_snapshot_id IS NOT NULL)";
/// The snapshots that are there, with their gate.
pub const KEPT_SNAPSHOTS: &str =
    "SELECT id, coalesce(gate, '') FROM snapshots WHERE state = 'local' ORDER BY id";
/// The layers that are there, and what they are: being built, used by a snapshot or a sandbox, cached under a key, or unused.
pub const LAYERS: &str = "SELECT id, CASE WHEN state = 'building' THEN 'building' \
    WHEN id IN (SELECT layer_id FROM snapshot_layers used JOIN snapshots snapshot \
        ON snapshot.id = used.snapshot_id WHERE snapshot.state <> 'deleted') \
        OR id IN (SELECT layer_id FROM live_sandbox_layers) THEN 'used' \
    WHEN layer_key IS NOT NULL THEN 'cached' ELSE 'unused' END \
    FROM layers WHERE state <> 'deleted'";
/// How many runs and gates there are, and how many attempts of steps there were beyond the first.
pub const FIGURES: &str = "SELECT (SELECT count(*) FROM runs), \
    (SELECT count(*) FROM steps WHERE kind = 'gate'), \
    (SELECT coalesce(sum(attempts - 1), 0) FROM steps WHERE attempts > 1)";
/// Makes the database one of a newer program that this one may not touch.
pub const MAKE_NEWER: &str = "INSERT INTO schema_versions VALUES (999, 998, 0)";
/// The versions of the schema that the database went through.
pub const VERSIONS: &str = "SELECT * FROM schema_versions";
