//! The names of all fail points, and the proof that there are no others.

use std::collections::BTreeMap;

use crate::architecture::sources;

/// Each fail point, in the order in which a pull request comes by them.
pub const POINTS: &[&str] = &[
    // A delivery is taken in: before and after its transaction, and before the answer.
    "accept.written",
    "accept.committed",
    // An event goes from the outbox to the bus, and from there to whoever handles it.
    "relay.taken",
    "relay.published",
    "bus.committed",
    "event.handled",
    // A run is written down and begins; a step is claimed.
    "run.created",
    "run.advanced",
    "step.claimed",
    // Layers are built.
    "layer.claimed",
    "layer.written",
    "layer.published",
    "layer.finished",
    "setup.sealed",
    // A sandbox lives.
    "sandbox.recorded",
    "scratch.started",
    "sandbox.made",
    "output.written",
    "scripts.ended",
    "sandbox.destroyed",
    // What it wrote is kept, or goes.
    "layer.adopted",
    "sandbox.sealed",
    "layer.retired",
    "debug.recorded",
    // Its result is accepted, and the run ends.
    "result.accepted",
    "run.ended",
    "approved.recorded",
    "layer.forgotten",
    // The verdict is shown.
    "posting.planned",
    "posting.written",
    "posting.confirmed",
    "run.shown",
];

#[test]
fn every_fail_point_stands_at_one_place_and_is_in_the_list() {
    // In two parts, so that this file does not count.
    let call = ["fail_point::", "reached("].concat();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources() {
        for rest in text.split(&call).skip(1) {
            // The definition itself has a parameter there.
            let Some(name) = rest.trim_start().strip_prefix('"') else { continue };
            let name = name.split('"').next().unwrap().to_owned();
            places.entry(name).or_default().push(path.display().to_string());
        }
    }
    for (name, paths) in &places {
        assert_eq!(paths.len(), 1, "`{name}` stands at {paths:?}");
    }
    let mut listed = POINTS.to_vec();
    listed.sort_unstable();
    assert_eq!(places.keys().collect::<Vec<_>>(), listed);
}
