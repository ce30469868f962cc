//! Commands that take more than they are given: the right result, the limit by name, a debug snapshot, and nothing left behind.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Ended, World, gate, skip, until};

/// Runs one gate named `hostile` beside one named `neighbour`, and checks that the neighbour did not notice.
struct Story {
    world: World,
    ended: Ended,
    run: Value,
    took: Duration,
}

impl Story {
    fn tell(settings: &str, script: &str) -> Self {
        let script = script.replace('\n', "\n      ");
        let config = format!(
            "version: 1\nfail_fast: off\ngates:\n  hostile:\n    {settings}\n    run: |\n      {script}\n  \
             neighbour: {{ run: 'sleep 1; echo fine; echo kept > kept; cat kept' }}\n"
        );
        let world = World::with_files(&[(".sandgate.yaml", &config)]);
        let begin = Instant::now();
        let (ended, run) = world.run(&["--jobs", "2"]);
        let took = begin.elapsed();
        assert_eq!(gate(&run, "neighbour")["result"], "success", "{run}");
        assert_eq!(world.sandgate(&["logs", "neighbour"]).stdout, "fine\nkept\n");
        world.assert_clean();
        Self { world, ended, run, took }
    }

    fn hostile(&self) -> &Value {
        gate(&self.run, "hostile")
    }

    fn log(&self) -> String {
        self.world.sandgate(&["logs", "hostile"]).stdout
    }

    /// It ended with this result, said why, and can be entered.
    fn ended_badly(&self, result: &str, code: i32, reason: &str) {
        let hostile = self.hostile();
        assert_eq!(hostile["result"], result, "{hostile} {}", self.log());
        assert_eq!(self.ended.code, code, "{}", self.ended.stderr);
        let said = hostile["reason"].as_str().unwrap();
        assert!(said.contains(reason), "`{said}` does not say `{reason}`");
        let snapshot = hostile["snapshot"].as_str().expect("a debug snapshot");
        assert_eq!(self.run["debugSnapshots"]["hostile"], snapshot);
        let inside = self.world.debug("hostile", &["cat", ".sandgate.yaml"]);
        assert_eq!(inside.code, 0, "{}", inside.stderr);
        assert!(inside.stdout.starts_with("version: 1"), "{}", inside.stdout);
        self.world.assert_clean();
    }

    fn passed(&self) {
        let hostile = self.hostile();
        assert_eq!(hostile["result"], "success", "{hostile} {}", self.log());
        assert_eq!(self.ended.code, 0, "{}", self.ended.stderr);
    }
}

/// Whether the machine holds a limit; if not, the probe's reason is told.
fn holds(test: &str, limit: &str) -> bool {
    let world =
        World::with_files(&[(".sandgate.yaml", "version: 1\ngates: { a: { run: 'true' } }\n")]);
    let (_, run) = world.run(&[]);
    let held = run["isolation"]["limits"].as_array().unwrap().iter().any(|held| held == limit);
    if !held {
        skip(test, &format!("the {limit} limit is not held here; `sandgate doctor` tells why"));
    }
    held
}

#[test]
fn a_command_that_does_not_exist() {
    let story = Story::tell("timeout: 1m", "no-such-command --flag");
    story.ended_badly("failure", 3, "exit code 127 (a command was not found)");
    assert_eq!(story.hostile()["exitCode"], 127);
    assert!(story.log().contains("no-such-command"), "{}", story.log());
}

#[test]
fn a_shell_that_kills_itself() {
    let story = Story::tell("timeout: 1m", "echo before; kill -9 $$; echo after");
    story.ended_badly("failure", 3, "SIGKILL");
    assert_eq!(story.hostile()["signal"], 9);
    assert_eq!(story.log(), "before\n");
}

#[test]
fn a_command_that_kills_all_it_can() {
    let story =
        Story::tell("timeout: 1m", "echo before\nkill -9 -1 2> /dev/null || true\necho survived");
    // The shell itself is spared by kill(2).
    story.passed();
    assert_eq!(story.log(), "before\nsurvived\n");
    let story =
        Story::tell("timeout: 1m", "kill -9 1 2> /dev/null || true\nkill -TERM 1\necho still here");
    story.passed();
}

#[test]
fn a_command_that_ignores_signals_ends_at_its_timeout() {
    let script =
        "trap '' TERM INT HUP QUIT USR1 USR2 PIPE ALRM TSTP\necho deaf\nwhile :; do sleep 1; done";
    let story = Story::tell("timeout: 2s", script);
    story.ended_badly("timeout", 3, "timeout of 2s");
    assert!(story.took < Duration::from_secs(20), "{:?}", story.took);
    assert_eq!(story.log(), "deaf\n");
}

#[test]
fn a_command_that_stops_itself_ends_at_its_timeout() {
    let story = Story::tell("timeout: 2s", "kill -STOP $$");
    story.ended_badly("timeout", 3, "timeout of 2s");
}

#[test]
fn a_command_that_forks_forever() {
    if !holds("a_command_that_forks_forever", "pids") {
        return;
    }
    let script = "bomb() { bomb | bomb & }\nbomb\nsleep 60";
    let story = Story::tell("timeout: 3s\n    resources: { pids: 60 }", script);
    let result = story.hostile()["result"].as_str().unwrap().to_owned();
    if result == "timeout" {
        story.ended_badly("timeout", 3, "timeout of 3s");
    } else {
        story.ended_badly("failure", 3, "pids limit");
    }
    let script = "python3 -c 'import os, time\nfor number in range(200):\n    if os.fork() == 0:\n        time.sleep(60)'";
    let story = Story::tell("timeout: 30s\n    resources: { pids: 60 }", script);
    story.ended_badly("failure", 3, "pids limit");
}

#[test]
fn a_command_that_eats_memory() {
    if !holds("a_command_that_eats_memory", "memory") {
        return;
    }
    let script = "python3 -c 'x = bytearray(400 << 20); print(len(x))'";
    let story = Story::tell("resources: { memory: 64Mi }", script);
    story.ended_badly("failure", 3, "memory limit");
    // The same with enough memory passes.
    Story::tell("resources: { memory: 600Mi }", script).passed();
}

#[test]
fn a_command_that_eats_memory_in_files() {
    if !holds("a_command_that_eats_memory_in_files", "memory") {
        return;
    }
    let script = "head -c 200M /dev/zero > /tmp/a || true; head -c 200M /dev/zero > /dev/shm/b";
    let story = Story::tell("resources: { memory: 64Mi }", script);
    assert_eq!(story.hostile()["result"], "failure", "{}", story.hostile());
}

#[test]
fn a_command_that_eats_disk() {
    if !holds("a_command_that_eats_disk", "disk") {
        return;
    }
    let script = "while :; do head -c 5M /dev/zero >> big; done";
    let story = Story::tell("timeout: 1m\n    resources: { disk: 50Mi }", script);
    story.ended_badly("failure", 3, "disk_bytes limit");
}

#[test]
fn a_command_that_eats_disk_behind_a_closed_door() {
    if !holds("a_command_that_eats_disk_behind_a_closed_door", "disk") {
        return;
    }
    // Deleted but open, and in a folder that nobody may look into.
    let script = "mkdir closed; chmod 0300 closed\nexec 9> closed/big; rm closed/big\nhead -c 400M /dev/zero >&9\nsleep 30";
    let story = Story::tell("timeout: 40s\n    resources: { disk: 50Mi }", script);
    story.ended_badly("failure", 3, "disk_bytes limit");
}

#[test]
fn a_command_that_eats_inodes() {
    if !holds("a_command_that_eats_inodes", "disk") {
        return;
    }
    let script = "python3 -c 'import os\nfor folder in range(3000):\n    os.mkdir(str(folder))\n    for number in range(1000):\n        os.close(os.open(f\"{folder}/{number}\", os.O_CREAT | os.O_WRONLY))'";
    let story = Story::tell("timeout: 3m\n    resources: { disk: 10Mi }", script);
    let hostile = story.hostile();
    assert_eq!(hostile["result"], "failure", "{hostile}");
    let reason = hostile["reason"].as_str().unwrap();
    assert!(reason.contains("disk_"), "{reason}");
}

#[test]
fn daemons_end_with_their_gate() {
    let script = "python3 -c 'import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(\"/dev/null\", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        time.sleep(7000)
    os._exit(0)
os.wait()'
( setsid sleep 7001 > /dev/null 2>&1 < /dev/null & )
nohup sleep 7002 > /dev/null 2>&1 &
echo done";
    let story = Story::tell("timeout: 1m", script);
    story.passed();
    assert!(story.took < Duration::from_secs(20), "{:?}", story.took);
    assert_eq!(story.log(), "done\n");
}

#[test]
fn daemons_of_a_failed_gate_end_too() {
    let story = Story::tell("timeout: 1m", "( setsid sleep 7003 & )\nexit 9");
    story.ended_badly("failure", 3, "exit code 9");
}

#[test]
fn a_background_process_that_holds_the_output_does_not_hold_the_gate() {
    let story = Story::tell("timeout: 5m", "echo begun\nsleep 7004 &\necho ended");
    story.passed();
    assert!(story.took < Duration::from_secs(20), "{:?}", story.took);
    assert!(story.log().starts_with("begun\nended\n"), "{}", story.log());
}

#[test]
fn a_command_that_closes_its_output() {
    let story = Story::tell("timeout: 1m", "exec >&- 2>&-\nsleep 1\nexit 6");
    story.ended_badly("failure", 3, "exit code 6");
}

#[test]
fn standard_input_is_at_its_end() {
    let story = Story::tell("timeout: 1m", "cat; read line || echo eof");
    story.passed();
    assert_eq!(story.log(), "eof\n");
}

const MEBIBYTE: u64 = 1 << 20;
/// The most memory that this much output may cost us.
const FLAT_KIBIBYTES: u64 = 300 << 10;

/// Runs one gate and gives the highest resident memory of the binary, in KiB.
fn highest_memory(world: &World) -> (Ended, u64) {
    let started = world.start(world.command(["run", "--output", "json"]));
    let path = format!("/proc/{}/status", started.pid());
    let mut highest = 0;
    until("the run to end", || {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
        highest = highest.max(now);
        line.is_none()
    });
    (started.wait(), highest)
}

#[test]
fn endless_output_is_bounded_and_costs_no_memory() {
    let config = "version: 1\ngates: { hostile: { run: 'yes this line is printed until two gigabytes are full | head -c 2G || true' } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (ended, highest) = highest_memory(&world);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(highest > 0 && highest < FLAT_KIBIBYTES, "{highest} KiB");
    let log = world.sandgate(&["logs", "hostile"]).stdout;
    assert!((64 * MEBIBYTE..65 * MEBIBYTE).contains(&(log.len() as u64)), "{}", log.len());
    let marker = log.lines().last().unwrap();
    assert!(marker.starts_with("[sandgate: ") && marker.ends_with("were dropped]"), "{marker}");
    world.assert_clean();
}

#[test]
fn a_line_without_an_end_is_bounded() {
    let config = "version: 1\ngates: { hostile: { run: 'head -c 100M /dev/zero; exit 3' } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (ended, highest) = highest_memory(&world);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(highest > 0 && highest < FLAT_KIBIBYTES, "{highest} KiB");
    assert!(ended.stderr.len() < 10_000, "{}", ended.stderr.len());
    world.assert_clean();
}
