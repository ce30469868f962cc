//! `sandgate run --isolation process` where namespaces can't be had: the binary runs under a system call filter like the one
//! of containers, so that its probe fails for real. Each story as root and as an ordinary user.

use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sandgate_testkit::queries;
use serde_json::Value;

use crate::world::{Ended, Started, World, gate, until};

const ORDINARY: u32 = 54_323;

/// A world whose binary finds no namespaces.
struct Plain {
    world: World,
    user: Option<u32>,
}

impl Plain {
    /// Tells the story once as the user of the tests, and if that is root once as an ordinary one.
    fn tell(files: &[(&str, &str)], story: impl Fn(&Self)) {
        let is_root = rustix::process::geteuid().is_root();
        let users: &[Option<u32>] = if is_root { &[None, Some(ORDINARY)] } else { &[None] };
        for &user in users {
            let plain = Self { world: World::with_files(files), user };
            let binary = plain.binary();
            std::fs::copy(env!("CARGO_BIN_EXE_sandgate"), &binary).unwrap();
            plain.give_away();
            story(&plain);
            plain.assert_clean();
        }
    }

    fn binary(&self) -> PathBuf {
        self.world.path("sandgate")
    }

    /// The folder of the world is the user's.
    fn give_away(&self) {
        let root = self.world.path("");
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        let Some(user) = self.user else { return };
        let mut pending = vec![root];
        while let Some(path) = pending.pop() {
            lchown(&path, Some(user), Some(user)).unwrap();
            if path.is_dir() && !path.is_symlink() {
                let entries = std::fs::read_dir(&path).unwrap();
                pending.extend(entries.map(|entry| entry.unwrap().path()));
            }
        }
    }

    fn write(&self, path: &str, text: &str) {
        self.world.write(path, text);
        self.give_away();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sandgate_testkit::without_namespaces(self.user, &self.binary());
        command
            .args(arguments)
            .current_dir(self.world.repository())
            .env("XDG_STATE_HOME", self.world.state())
            .env("HOME", self.world.path("home"))
            .env_remove("NO_COLOR");
        command
    }

    fn sandgate(&self, arguments: &[&str]) -> Ended {
        self.world.finish(self.command(arguments))
    }

    fn start(&self, arguments: &[&str]) -> Started {
        let all = [&["run", "--isolation", "process", "-o", "json"], arguments].concat();
        self.world.start(self.command(&all))
    }

    fn run(&self, arguments: &[&str]) -> (Ended, Value) {
        let ended = self.start(arguments).wait();
        let document = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", ended.stdout, ended.stderr));
        (ended, document)
    }

    /// Where the files of sandboxes lie while they live.
    fn root(&self) -> PathBuf {
        self.world.state().join("sandgate/node/process/root")
    }

    fn assert_clean(&self) {
        self.world.assert_clean();
        assert!(!self.root().exists(), "the files of a sandbox are left");
    }
}

/// Processes `sleep <mark>`.
fn sleepers(mark: &str) -> Vec<u32> {
    processes(|line| *line == [b"sleep\0", mark.as_bytes(), b"\0"].concat())
}

fn processes(wanted: impl Fn(&Vec<u8>) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| wanted(&line)))
        .collect()
}

/// A number of seconds that no other test sleeps.
fn mark(line: u32) -> String {
    format!("{}.{line}", 7000 + std::process::id())
}

const QUICK: &str = "version: 1\ngates: { quick: { run: echo quick } }\n";

#[test]
fn without_the_flag_nothing_runs_and_the_refusal_names_it() {
    Plain::tell(&[(".sandgate.yaml", QUICK)], |plain| {
        let ended = plain.sandgate(&["run"]);
        assert_ne!(ended.code, 0);
        assert!(ended.stderr.contains("can't hold an isolated sandbox"), "{}", ended.stderr);
        assert!(ended.stderr.contains("--isolation process"), "{}", ended.stderr);
        assert!(ended.stderr.contains("sandgate doctor"), "{}", ended.stderr);
        assert!(plain.world.entries("logs").is_empty(), "something ran");
        let doctor = plain.sandgate(&["doctor"]);
        assert_eq!(doctor.code, 1, "{}", doctor.stdout);
        assert!(doctor.stdout.contains("--isolation process"), "{}", doctor.stdout);
        let doctor = plain.sandgate(&["doctor", "-o", "json"]);
        let found: Value = serde_json::from_str(&doctor.stdout).unwrap();
        assert_eq!(found["usable"], false);
        assert_eq!(found["isolation"]["level"], "process");
        assert_eq!(found["isolation"]["namespaces"], false);
        let dev =
            plain.sandgate(&["dev", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
        assert_ne!(dev.code, 0);
        assert!(dev.stderr.contains("can't hold an isolated sandbox"), "{}", dev.stderr);
        assert!(!dev.stderr.contains("--isolation"), "{}", dev.stderr);
    });
}

const STORY: &str = "version: 1
fail_fast: off
environment:
  env: { DATA: /workspace/data }
  setup:
    run: 'pwd > place; cat lock > installed; mkdir -p ~/.tool; echo home > ~/.tool/x; find . -type f | sort'
    inputs: [lock]
gates:
  build: { run: 'test \"$(cat place)\" = \"$(pwd)\"; echo built > product; rm file.txt' }
  unit:
    from: build
    run: |
      cat product installed ~/.tool/x
      test ! -e file.txt
      test \"$PWD\" = \"$SANDGATE_WORKSPACE\"
      test \"$DATA\" = \"$PWD/data\"
      test \"$(dirname $(mktemp))\" = \"$TMPDIR\"
      git status --short
      env | grep -c SECRET || true
  fails: { run: [echo one, 'echo kept > kept.txt; exit 7', echo never] }
  reports:
    dir: app
    reports: { junit: [r.xml] }
    run: |
      echo '<testsuite><testcase name=\"t\" file=\"'$PWD'/t.py\" line=\"3\"><failure message=\"no\"/></testcase></testsuite>' > r.xml
      exit 1
";

const STORY_FILES: [(&str, &str); 4] =
    [(".sandgate.yaml", STORY), ("lock", "one\n"), ("file.txt", "text\n"), ("app/keep", "")];

#[test]
fn a_run_has_the_same_results_and_says_what_it_is() {
    Plain::tell(&STORY_FILES, |plain| {
        let mut command = plain.command(&["run", "--isolation", "process", "-o", "json"]);
        command.env("MY_SECRET", "x");
        let ended = plain.world.finish(command);
        let run: Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains("NOT isolated"), "{}", ended.stderr);
        assert_eq!(run["isolation"]["level"], "process");
        assert_eq!(run["isolation"]["namespaces"], false);
        assert_eq!(run["isolation"]["network"], false);
        for name in ["build", "unit"] {
            let log = plain.sandgate(&["logs", name]);
            assert_eq!(gate(&run, name)["result"], "success", "{run} {}", log.stdout);
        }
        let log = plain.sandgate(&["logs", "unit"]);
        assert_eq!(
            log.stdout,
            "built\none\nhome\n D file.txt\n?? installed\n?? place\n?? product\n0\n"
        );
        assert!(log.stderr.contains("NOT isolated"), "{}", log.stderr);
        assert_eq!(plain.sandgate(&["logs", "setup"]).stdout, "./installed\n./lock\n./place\n");
        let failure = &gate(&run, "reports")["reports"]["failures"][0];
        assert_eq!(failure["file"], "app/t.py", "{run}");
        assert_eq!(gate(&run, "fails")["exitCode"], 7);
        debug_snapshots(plain, &run);

        // The setup is not repeated for the same inputs, and the summary says what it was.
        plain.write("file.txt", "other\n");
        let again = plain.sandgate(&["run", "--isolation", "process", "--gate", "build"]);
        assert_eq!(again.code, 0, "{}", again.stderr);
        assert!(again.stderr.contains("its layer was there already"), "{}", again.stderr);
        assert!(again.stdout.contains("isolation: process"), "{}", again.stdout);
        let tree = plain.sandgate(&[
            "run",
            "--isolation",
            "process",
            "--gate",
            "build",
            "--progress",
            "tty",
        ]);
        assert!(tree.stderr.matches("NOT isolated").count() > 1, "{}", tree.stderr);
    });
}

fn debug_snapshots(plain: &Plain, run: &Value) {
    let inside = plain.sandgate(&[
        "debug",
        "fails",
        "--",
        "sh",
        "-c",
        "pwd; cat kept.txt file.txt; echo $CI",
    ]);
    let workspace = plain.root().join("workspace");
    assert_eq!(
        inside.stdout,
        format!("{}\nkept\ntext\ntrue\n", workspace.display()),
        "{}",
        inside.stderr
    );
    assert!(inside.stderr.contains("NOT isolated"), "{}", inside.stderr);
    let script = "rm kept.txt; rerun; echo status $?; cat kept.txt";
    let again = plain.sandgate(&["debug", "fails", "--", "sh", "-c", script]);
    assert_eq!(again.stdout, "one\nstatus 7\nkept\n", "{}", again.stderr);
    let snapshot = gate(run, "fails")["snapshot"].as_str().unwrap();
    let shown = plain.sandgate(&["snapshot", "show", snapshot, "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["isolation"], "process");
}

#[test]
fn a_success_makes_an_approved_snapshot_that_can_be_entered() {
    let config = "version: 1\napprove_from: build\ngates:\n  build: { run: echo built > product }\n  \
                  unit: { from: build, run: grep built product }\n";
    Plain::tell(&[(".sandgate.yaml", config)], |plain| {
        let (ended, run) = plain.run(&[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let snapshot = run["approvedSnapshot"].as_str().unwrap();
        let inside = plain.sandgate(&["debug", "--snapshot", snapshot, "--", "cat", "product"]);
        assert_eq!(inside.stdout, "built\n", "{}", inside.stderr);
        assert_eq!(plain.sandgate(&["snapshot", "delete", snapshot]).code, 0);
    });
}

/// Snapshots keep the trust of the layers that they are made of, whoever enters them.
#[test]
fn what_strangers_brought_is_not_entered() {
    let config = "version: 1\ngates: { bad: { run: exit 1 } }\n";
    Plain::tell(&[(".sandgate.yaml", config)], |plain| {
        plain.run(&[]);
        let debug = || plain.sandgate(&["debug", "bad", "--", "echo", "inside"]);
        let control = debug();
        assert_eq!(control.stdout, "inside\n", "{}", control.stderr);
        plain.world.sql(queries::DISTRUST_LAYERS);
        plain.give_away();
        let refused = debug();
        assert_ne!(refused.code, 0);
        assert_eq!(refused.stdout, "");
        let reason = "what a fork brings is never run at the process level";
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    });
}

#[test]
fn levels_share_no_layer_and_no_snapshot() {
    let world = World::with_files(&[(".sandgate.yaml", QUICK)]);
    if world.sandgate(&["doctor"]).code != 0 {
        crate::world::skip("levels_share_no_layer", "there are no namespaces here to compare with");
        return;
    }
    let files = [(
        ".sandgate.yaml",
        "version: 1\nenvironment: { setup: { run: pwd > place, inputs: [] } }\ngates: { bad: { run: cat place; exit 1 } }\n",
    )];
    let plain = Plain { world: World::with_files(&files), user: None };
    std::fs::copy(env!("CARGO_BIN_EXE_sandgate"), plain.binary()).unwrap();
    let (_, first) = plain.run(&[]);
    assert_eq!(first["setup"]["result"], "success");
    assert_eq!(first["setup"]["reason"], Value::Null);
    // Where namespaces hold they are taken, whatever was consented to.
    let (_, second) = plain.world.run(&["--isolation", "process"]);
    assert_eq!(second["isolation"]["level"], "namespaces");
    assert_eq!(second["setup"]["reason"], Value::Null, "the setup is built for each level");
    assert_eq!(plain.world.sandgate(&["logs", "bad"]).stdout, "/workspace\n");
    let snapshot = |run: &Value| gate(run, "bad")["snapshot"].as_str().unwrap().to_owned();
    let (of_processes, of_namespaces) = (snapshot(&first), snapshot(&second));
    let mixed = plain.world.sandgate(&["debug", "--snapshot", &of_processes, "--", "true"]);
    assert_eq!(mixed.code, 6, "{}", mixed.stderr);
    assert!(mixed.stderr.contains("process level"), "{}", mixed.stderr);
    let mixed = plain.sandgate(&["debug", "--snapshot", &of_namespaces, "--", "true"]);
    assert!(mixed.stderr.contains("can't hold an isolated sandbox"), "{}", mixed.stderr);
    for (entered, snapshot) in [
        (plain.world.command(["debug", "--snapshot", &of_namespaces, "--", "true"]), "namespaces"),
        (plain.command(&["debug", "--snapshot", &of_processes, "--", "true"]), "process"),
    ] {
        let ended = plain.world.finish(entered);
        assert_eq!(ended.code, 0, "{snapshot}: {}", ended.stderr);
    }
    plain.assert_clean();
}

/// A gate that starts a daemon which leaves its parent, its group and its session, and then never ends.
fn daemon(mark: &str) -> String {
    format!(
        "version: 1\ndefaults: {{ timeout: 5m }}\ngates:\n  slow:\n    run: |\n      \
         (setsid sh -c 'trap \"\" 1 2 15; sleep {mark} & sleep {mark}' > /dev/null 2>&1 &)\n      \
         echo begun\n      sleep {mark}\n"
    )
}

#[test]
fn a_timeout_ends_daemons_too() {
    let mark = mark(line!());
    let config = daemon(&mark).replace("5m", "2s");
    Plain::tell(&[(".sandgate.yaml", &config)], |plain| {
        let started = plain.start(&[]);
        until("the daemon to run", || sleepers(&mark).len() == 3);
        let ended = started.wait();
        let run: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(gate(&run, "slow")["result"], "timeout", "{run}");
        assert_eq!(sleepers(&mark), Vec::<u32>::new());
    });
}

#[test]
fn an_interrupt_cleans_up_everything() {
    let mark = mark(line!());
    Plain::tell(&[(".sandgate.yaml", &daemon(&mark))], |plain| {
        let started = plain.start(&[]);
        until("the daemon to run", || sleepers(&mark).len() == 3);
        assert!(plain.root().join("workspace").exists(), "positive control");
        started.signal(Signal::INT);
        let ended = started.wait();
        assert_eq!(ended.code, 130, "{}", ended.stderr);
        assert_eq!(sleepers(&mark), Vec::<u32>::new());
        assert_eq!(plain.sandgate(&["logs", "slow"]).stdout, "begun\n");
    });
}

#[test]
fn a_kill_leaves_no_process_and_the_next_start_removes_the_files() {
    let mark = mark(line!());
    Plain::tell(&[(".sandgate.yaml", &daemon(&mark))], |plain| {
        let started = plain.start(&[]);
        until("the daemon to run", || sleepers(&mark).len() == 3);
        started.signal(Signal::KILL);
        started.wait();
        until("everything inside to end", || sleepers(&mark).is_empty());
        assert!(plain.root().exists(), "positive control");
        next_start(plain);
    });
}

/// The reaper is killed together with the binary, so that nobody is left who knows of the daemons.
#[test]
fn daemons_that_outlive_everybody_are_found_by_the_next_start() {
    let mark = mark(line!());
    Plain::tell(&[(".sandgate.yaml", &daemon(&mark))], |plain| {
        let started = plain.start(&[]);
        until("the daemon to run", || sleepers(&mark).len() == 3);
        let own = format!("\nPPid:\t{}\n", started.pid());
        let reapers = processes(|line| line.starts_with(b"sandgate-init"));
        let is_own = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|text| text.contains(&own))
        };
        let reaper = reapers.into_iter().find(is_own).unwrap();
        let reaper = Pid::from_raw(reaper.cast_signed()).unwrap();
        kill_process(reaper, Signal::STOP).unwrap();
        started.signal(Signal::KILL);
        started.wait();
        kill_process(reaper, Signal::KILL).unwrap();
        until("the command itself to die with the reaper", || sleepers(&mark).len() <= 3);
        assert!(!sleepers(&mark).is_empty(), "positive control");
        next_start(plain);
        assert_eq!(sleepers(&mark), Vec::<u32>::new());
    });
}

fn next_start(plain: &Plain) {
    plain.write(".sandgate.yaml", QUICK);
    let (ended, run) = plain.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(gate(&run, "quick")["result"], "success");
}

#[test]
fn one_run_at_a_time_has_the_folder() {
    let mark = mark(line!());
    Plain::tell(&[(".sandgate.yaml", &daemon(&mark))], |plain| {
        let started = plain.start(&[]);
        until("the daemon to run", || sleepers(&mark).len() == 3);
        let second = plain.sandgate(&["run", "--isolation", "process"]);
        assert_eq!(second.code, 6, "{}", second.stderr);
        assert!(second.stderr.contains(&started.pid().to_string()), "{}", second.stderr);
        assert_eq!(sleepers(&mark).len(), 3);
        started.signal(Signal::INT);
        started.wait();
        let jobs = plain.sandgate(&["run", "--isolation", "process", "--jobs", "2"]);
        assert!(jobs.stderr.contains("one after the other"), "{}", jobs.stderr);
        assert_ne!(jobs.code, 0);
    });
}

/// What this level does not hold, as docs/security.md says: so that the document stays true.
#[test]
fn what_is_not_held_is_not_held() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "of the machine\n").unwrap();
    std::fs::set_permissions(secret.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = format!(
        "version: 1\ngates:\n  reach:\n    run: |\n      cat {}\n      (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo connected\n      test -d /proc/{} && echo seen\n",
        Path::new(secret.path()).display(),
        std::process::id()
    );
    Plain::tell(&[(".sandgate.yaml", &config)], |plain| {
        let (ended, _) = plain.run(&[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let log = plain.sandgate(&["logs", "reach"]);
        assert_eq!(log.stdout, "of the machine\nconnected\nseen\n");
    });
}
