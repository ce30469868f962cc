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
