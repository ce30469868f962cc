//! Gates start as memory allows, and those that wait say why.

use super::harness::{Change, Dev, SECRET, command, world_with};
use crate::world::{gate, until};

const CONFIG: &str = "version: 1
gates:
  one: { run: sleep 6, resources: { cpu: 0.1, memory: 512Mi } }
  two: { run: sleep 7, resources: { cpu: 0.1, memory: 384Mi } }
  three: { run: echo through, resources: { cpu: 0.1, memory: 512Mi } }
  four: { run: echo through, resources: { cpu: 0.1, memory: 128Mi } }
  large: { needs: [one, two, three, four], run: echo large, resources: { cpu: 0.1, memory: 2Gi } }
";

#[test]
fn a_gate_waits_for_memory_says_so_and_runs_when_there_is_room() {
    let world = world_with(CONFIG);
    let mut command = command(&world, Some(SECRET));
    command.env("SANDGATE__ADMISSION__MEMORY", "1Gi");
    let dev = Dev::start_as(&world, command);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    for name in ["one", "two"] {
        dev.executing(1, name);
    }
    let run = dev.executing(1, "two");
    let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    let mut run = run;
    let short = "waits for memory: it asks for 512 MiB, 128 MiB of 1 GiB are free";
    until("the third to say why it waits", || {
        run = dev.json(&path);
        gate(&run, "three")["waiting"] == short
    });
    // It would fit, but is not let past the one before it.
    assert_eq!(gate(&run, "four")["waiting"], "waits behind 1 step", "{run:#}");
    let needs = "waits for one, two, three and four";
    assert_eq!(gate(&run, "large")["waiting"], needs, "{run:#}");
    let of_gate = format!("/api/v1/gates/{}", gate(&run, "three")["id"].as_str().unwrap());
    assert_eq!(dev.json(&of_gate)["waiting"], short);
    let metrics = dev.get("/metrics").body;
    for line in ["capacity_memory_bytes 1073741824", "held_memory_bytes 939524096", "steps 2"] {
        assert!(metrics.contains(&format!("\nsandgate_gate_runner_{line}\n")), "{metrics}");
    }
    let status = world.sandgate(&["status"]);
    assert!(status.stdout.contains(short), "{}", status.stdout);

    dev.concluded(1, "success");
    let run = dev.json(&path);
    let started = |name: &str| gate(&run, name)["startedAt"].as_str().unwrap().to_owned();
    let ended = |name: &str| gate(&run, name)["endedAt"].as_str().unwrap().to_owned();
    assert!(started("three") >= ended("one"), "{run:#}");
    assert!(started("three") < ended("two"), "as soon as there was room: {run:#}");
    let alone = "it ran alone, as it asks for more than there is: memory 2 GiB of 1 GiB";
    assert_eq!(gate(&run, "large")["reason"], alone, "{run:#}");
    assert_eq!(gate(&run, "three")["reason"], serde_json::Value::Null, "{run:#}");
    dev.stop();
}
