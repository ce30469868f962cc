//! Input that is wrong, hostile or broken: a clear answer with the documented exit code, and nothing lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandgate_testkit::queries;

use crate::world::{Ended, World, gate, skip};

const GOOD: &str = "version: 1\ngates: { unit: { run: 'true' } }\n";

fn good() -> World {
    World::with_files(&[(".sandgate.yaml", GOOD)])
}

/// It ended with this code, said all of these, and did not panic.
fn refused(ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    for text in says {
        assert!(ended.stderr.contains(text), "`{text}` is not in:\n{}", ended.stderr);
    }
    assert!(ended.stderr.len() < 20_000, "{} bytes of error", ended.stderr.len());
    assert_eq!(ended.stdout, "");
}

#[test]
fn wrong_configurations_are_refused_with_place_and_remedy_and_nothing_runs() {
    let huge = format!("{GOOD}# {}\n", "x".repeat(10 << 20));
    let bomb = {
        let mut text = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(9);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
        }
        text + "gates: { unit: { run: *a11 } }\n"
    };
    let deep = format!("version: 1\ngates: {}\n", "[".repeat(100_000));
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "unknown key",
            "version: 1\ngates:\n  unit:\n    run: echo\n    timeuot: 3m\n",
            &[".sandgate.yaml:5:5", "timeuot", "timeout"],
        ),
        ("wrong type", "version: 1\ngates:\n  unit: { run: { a: 1 } }\n", &[".sandgate.yaml:3:16"]),
        (
            "cycle",
            "version: 1\ngates:\n  a: { run: echo, needs: [b] }\n  b: { run: echo, needs: [a] }\n",
            &[".sandgate.yaml:", "a", "b", "cycle"],
        ),
        (
            "unknown needs",
            "version: 1\ngates:\n  build: { run: echo }\n  unit: { run: echo, needs: [biuld] }\n",
            &[".sandgate.yaml:4:", "biuld", "build"],
        ),
        (
            "unknown from",
            "version: 1\ngates:\n  build: { run: echo }\n  unit: { run: echo, from: biuld }\n",
            &[".sandgate.yaml:4:", "biuld", "build"],
        ),
        (
            "duplicate key",
            "version: 1\ngates:\n  unit: { run: echo }\n  unit: { run: echo }\n",
            &[".sandgate.yaml:4:3", "unit"],
        ),
        ("tabs", "version: 1\ngates:\n\tunit:\n\t\trun: echo\n", &[".sandgate.yaml:3:", "tab"]),
        ("ten megabytes", &huge, &[".sandgate.yaml", "1048576"]),
        ("alias bomb", &bomb, &[".sandgate.yaml"]),
        ("deep nesting", &deep, &[".sandgate.yaml"]),
        ("no gates", "version: 1\ngates: {}\n", &[".sandgate.yaml:2:"]),
        ("empty file", "", &[".sandgate.yaml"]),
        ("other version", "version: 9\ngates: { unit: { run: echo } }\n", &[".sandgate.yaml:1:10"]),
    ];
    for (name, text, says) in cases {
        let world = World::with_files(&[(".sandgate.yaml", text)]);
        let begin = std::time::Instant::now();
        let ended = world.sandgate(&["run"]);
        println!("{name}: {}", ended.stderr.chars().take(500).collect::<String>());
        refused(&ended, 2, says);
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{name}");
        assert!(!world.state().join("sandgate/state.db").exists(), "{name}: something was begun");
    }
}

#[test]
fn a_configuration_that_is_not_text_or_not_a_file_is_refused() {
    let world = good();
    std::fs::write(world.repository().join(".sandgate.yaml"), b"version: 1\n\xff\xfe").unwrap();
    refused(&world.sandgate(&["run"]), 2, &[".sandgate.yaml", "UTF-8"]);
    std::fs::remove_file(world.repository().join(".sandgate.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", world.repository().join(".sandgate.yaml")).unwrap();
    let ended = world.sandgate(&["run"]);
    refused(&ended, 2, &[".sandgate.yaml", "symlink"]);
    assert!(!ended.stderr.contains("root:"), "{}", ended.stderr);
}

#[test]
fn an_unknown_gate_is_not_found() {
    let config = "version: 1\ngates: { unit: { run: 'true' }, lint: { run: 'true' } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    refused(&world.sandgate(&["run", "--gate", "untt"]), 5, &["untt", "unit"]);
    let long = "x".repeat(4096);
    for strange in ["", "a\nb", "../unit", "\u{202e}tinu", long.as_str()] {
        let ended = world.sandgate(&["run", "--gate", strange]);
        assert!(matches!(ended.code, 2 | 5), "{strange:?}: {} {}", ended.code, ended.stderr);
        refused(&ended, ended.code, &[]);
    }
}

#[test]
fn strange_references_are_refused_or_not_found() {
    let world = good();
    let missing = "0123456789abcdef0123456789abcdef01234567";
    refused(&world.sandgate(&["run", "--ref", missing]), 5, &[missing, "fetch"]);
    refused(&world.sandgate(&["run", "--ref", "no-such-branch"]), 5, &["no-such-branch"]);
    let long = "x".repeat(4096);
    let marker = world.path("marker");
    let upload = format!("--upload-pack=touch {}", marker.display());
    for strange in [
        "",
        "a\nb",
        "main\n",
        "..",
        "main..main",
        "a/../b",
        "--output=x",
        "-h",
        "@{-1}",
        "HEAD^{/x}",
        ":/start",
        ":.sandgate.yaml",
        "HEAD:.sandgate.yaml",
        "\u{202e}niam",
        "refs/../HEAD",
        long.as_str(),
        upload.as_str(),
    ] {
        for flag in ["--ref", "--base"] {
            let ended = world.sandgate(&["run", &format!("{flag}={strange}")]);
            assert!(
                matches!(ended.code, 2 | 5),
                "{flag} {strange:?}: {} {}",
                ended.code,
                ended.stderr
            );
            refused(&ended, ended.code, &[]);
        }
    }
    assert!(!marker.exists());
    for good in ["main", "HEAD", "refs/heads/main"] {
        assert_eq!(world.sandgate(&["run", "--ref", good]).code, 0, "{good}");
    }
}

#[test]
fn a_folder_without_history_is_told_what_to_do() {
    let empty = World::new();
    refused(&empty.sandgate(&["run"]), 2, &["no commit", "git commit"]);
    let world = World::new();
    let mut command = world.command(["run"]);
    command.current_dir(world.path("home"));
    refused(&world.finish(command), 2, &["git init"]);
    let mut command = world.command(["run"]);
    std::fs::remove_dir_all(world.repository().join(".git")).unwrap();
    std::fs::create_dir(world.repository().join(".git")).unwrap();
    command.current_dir(world.repository());
    let ended = world.finish(command);
    assert!(matches!(ended.code, 1 | 2), "{} {}", ended.code, ended.stderr);
    refused(&ended, ended.code, &["git"]);
}

#[test]
fn submodules_and_large_files_are_listed_in_the_run() {
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n",
        "4d".repeat(32)
    );
    let world = World::with_files(&[
        (".sandgate.yaml", GOOD),
        (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"),
        ("data.bin", &pointer),
    ]);
    let head = world.git(&["rev-parse", "HEAD"]);
    let link = format!("160000,{},library", head.trim());
    world.git(&["update-index", "--add", "--cacheinfo", &link]);
    world.git(&["commit", "--quiet", "--message", "a submodule"]);
    for arguments in [&["--ref", "HEAD"][..], &[]] {
        let (ended, run) = world.run(arguments);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let listed = run["unsupported"].as_array().unwrap();
        for path in ["library", "data.bin"] {
            let entry = listed.iter().find(|entry| entry["file"] == path);
            let entry = entry.unwrap_or_else(|| panic!("{path} is not in {listed:?}"));
            assert!(entry["instead"].as_str().unwrap().contains("setup"), "{entry}");
            assert!(ended.stderr.contains(path), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let world = good();
    assert_eq!(world.sandgate(&["run"]).code, 0);
    world.sql("UPDATE schema_versions SET version = version + 50, min_reader_version = 51");
    let before = world.sql(queries::WHOLE_RUNS);
    for arguments in [&["run"][..], &["logs", "unit"], &["snapshot", "list"], &["debug", "unit"]] {
        refused(&world.sandgate(arguments), 1, &["state.db", "update sandgate", "--data-dir"]);
    }
    assert_eq!(world.sql(queries::WHOLE_RUNS), before);
}

#[test]
fn a_damaged_database_is_told_and_left_alone() {
    let world = good();
    assert_eq!(world.sandgate(&["run"]).code, 0);
    let path = world.state().join("sandgate/state.db");
    world.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let whole = std::fs::read(&path).unwrap();
    let mut middle = whole.clone();
    for page in middle.chunks_mut(4096).skip(1) {
        page.fill(0xa5);
    }
    let text = b"this is no database at all\n".repeat(1000);
    for damaged in [text, middle] {
        for side in ["state.db-wal", "state.db-shm"] {
            std::fs::remove_file(path.with_file_name(side)).ok();
        }
        std::fs::write(&path, &damaged).unwrap();
        let ended = world.sandgate(&["run"]);
        refused(&ended, 1, &["database", "damaged", "move it away"]);
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(world.sandgate(&["run"]).code, 0);
}

const WITH_SETUP: &str = "version: 1
environment: { setup: { run: 'mkdir -p d; echo installed > d/installed; echo other > d/other', inputs: [] } }
gates:
  unit: { run: 'cat d/installed source; ls d | wc -l' }
";

/// The folders of the layers, each with the files in it.
fn layers(world: &World) -> Vec<PathBuf> {
    world.entries("node/store/layers").into_iter().map(|layer| layer.join("diff")).collect()
}

fn damage(world: &World, file: &str, how: impl Fn(&Path)) {
    let found: Vec<PathBuf> = layers(world)
        .into_iter()
        .map(|layer| layer.join(file))
        .filter(|path| path.exists())
        .collect();
    assert!(!found.is_empty(), "no layer holds {file}");
    found.iter().for_each(|path| how(path));
}

#[test]
fn damaged_layers_are_built_again() {
    let world = World::with_files(&[(".sandgate.yaml", WITH_SETUP), ("source", "text\n")]);
    let whole = "installed\ntext\n2\n";
    let check = |rebuilt: bool| {
        let (ended, run) = world.run(&["--ref", "HEAD"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(world.sandgate(&["logs", "unit"]).stdout, whole);
        assert_eq!(run["setup"]["reason"].is_null(), rebuilt, "{}", ended.stderr);
    };
    check(true);
    check(false);
    damage(&world, "workspace/d/other", |path| std::fs::remove_file(path).unwrap());
    check(true);
    check(false);
    damage(&world, "workspace/source", |path| std::fs::remove_file(path).unwrap());
    check(false);
    damage(&world, "workspace/d/installed", |path| std::fs::write(path, "cut").unwrap());
    check(true);
    damage(&world, "workspace", |path| std::fs::remove_dir_all(path.parent().unwrap()).unwrap());
    check(true);
    for layer in layers(&world) {
        std::fs::remove_dir_all(layer.parent().unwrap()).unwrap();
    }
    check(true);
    for layer in layers(&world) {
        let record = layer.with_file_name("record.json");
        std::fs::write(record, "{").unwrap();
    }
    check(true);
    world.assert_clean();
}

#[test]
fn a_snapshot_on_a_lost_layer_is_not_opened_on_something_else() {
    let config = "version: 1\ngates: { unit: { run: 'echo kept > kept; exit 1' } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    assert_eq!(world.sandgate(&["run"]).code, 3);
    assert_eq!(world.debug("unit", &["cat", "kept"]).stdout, "kept\n");
    damage(&world, "workspace/kept", |path| std::fs::remove_file(path).unwrap());
    let ended = world.debug("unit", &["cat", "kept"]);
    refused(&ended, 1, &["layer", "corrupt"]);
    world.assert_clean();
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let world = good();
    let file = world.path("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("below");
    let ended = world.sandgate(&["run", "--data-dir", below.to_str().unwrap()]);
    refused(&ended, 1, &[below.to_str().unwrap(), "--data-dir"]);
    let ended = world.sandgate(&["run", "--data-dir", "/proc/sandgate"]);
    refused(&ended, 1, &["/proc/sandgate", "--data-dir"]);
    let ended = world.sandgate(&["run", "--data-dir", "/sys"]);
    refused(&ended, 1, &["/sys"]);
}

/// A small file system of its own, gone at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Result<Self, String> {
        std::fs::create_dir(&at).unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "none"])
            .arg(&at)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(at))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Leaves this many bytes free.
    fn fill(&self, left: u64) {
        let state = rustix::fs::statvfs(&self.0).unwrap();
        let free = state.f_bavail * state.f_frsize;
        let text = vec![b'x'; usize::try_from(free.saturating_sub(left)).unwrap()];
        std::fs::write(self.0.join("filler"), text).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_all_works_when_there_is_room_again() {
    let config = "version: 1\nfail_fast: off\ngates:\n  small: { run: echo fine }\n  \
                  big: { run: 'head -c 200M /dev/zero > big' }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let disk = match SmallDisk::mount(world.path("small"), "64m") {
        Ok(disk) => disk,
        Err(reason) => return skip("a_full_disk", &format!("no tmpfs can be mounted: {reason}")),
    };
    let folder = disk.0.join("data");
    let run = |gate: &str| {
        let arguments = ["run", "--gate", gate, "--data-dir", folder.to_str().unwrap()];
        world.start(world.command(arguments)).wait_within(std::time::Duration::from_secs(60))
    };
    // Full from the start.
    disk.fill(0);
    let ended = run("small");
    println!("at the start: {} {}", ended.code, ended.stderr);
    assert!(matches!(ended.code, 1 | 9), "{}", ended.stderr);
    refused(&ended, ended.code, &[]);
    let is_told = |text: &str| ["space", "room", "full"].iter().any(|word| text.contains(word));
    assert!(is_told(&ended.stderr), "{}", ended.stderr);
    disk.free();
    let ended = run("small");
    assert_eq!(ended.code, 0, "{}", ended.stderr);

    // Full by what a gate writes.
    let ended = run("big");
    println!("by a gate: {} {}\n{}", ended.code, ended.stderr, ended.stdout);
    assert!(matches!(ended.code, 1 | 3 | 9), "{} {}", ended.code, ended.stderr);
    assert!(is_told(&ended.stderr) || is_told(&ended.stdout), "{}{}", ended.stdout, ended.stderr);
    let ended = run("small");
    assert_eq!(ended.code, 0, "{}", ended.stderr);

    // With room for some of it: wherever it stops, it says why, and nothing stays behind.
    for left in [4 << 10, 64 << 10, 256 << 10, 1 << 20] {
        disk.fill(left);
        let ended = run("small");
        println!("{left}: {} {}", ended.code, ended.stderr);
        assert!(matches!(ended.code, 0 | 1 | 9), "{left}: {} {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        disk.free();
        let ended = run("small");
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let left_over = std::fs::read_dir(folder.join("node/store/scratch")).unwrap().count();
        assert_eq!(left_over, 0);
    }
}

#[test]
fn a_report_that_is_no_report_is_a_warning() {
    let config = "version: 1\nfail_fast: off\ngates:
  passes: { run: 'mkdir report; echo \"<<<junk\" > report/a.xml; head -c 100k /dev/urandom > report/b.xml', reports: { junit: ['report/*.xml'] } }
  fails: { run: 'mkdir report; echo \"<testsuite tests=\\\"-1\\\"\" > report/a.xml; ln -s /etc/passwd report/c.xml; mkfifo report/d.xml; exit 4', reports: { junit: ['report/*.xml'] } }
  none: { run: 'true', reports: { junit: ['nowhere/*.xml'] } }
";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(gate(&run, "passes")["result"], "success", "{run}");
    assert_eq!(gate(&run, "fails")["result"], "failure", "{run}");
    assert_eq!(gate(&run, "fails")["exitCode"], 4);
    assert_eq!(gate(&run, "none")["result"], "success");
    for name in ["passes", "fails"] {
        let warnings = gate(&run, name)["reports"]["warnings"].as_array().unwrap();
        assert!(!warnings.is_empty(), "{run}");
    }
    assert!(!run.to_string().contains("root:x"), "{run}");
}

#[test]
fn changed_paths_decide_which_gates_run() {
    let config = "version: 1\ngates:
  always: { run: 'true' }
  source: { run: 'cat $SANDGATE_CHANGED_PATHS', when: { paths: ['src/**'] } }
  not_docs: { run: 'true', when: { paths_ignore: ['docs/**'] } }
";
    let world =
        World::with_files(&[(".sandgate.yaml", config), ("src/a", "1\n"), ("docs/a", "1\n")]);
    world.git(&["checkout", "--quiet", "-b", "topic"]);
    world.write("docs/a", "2\n");
    world.commit("docs");
    let result = |run: &serde_json::Value, name: &str| gate(run, name)["result"].clone();
    let (ended, run) = world.run(&["--base", "main"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(result(&run, "always"), "success");
    assert_eq!(result(&run, "source"), "skip");
    assert_eq!(result(&run, "not_docs"), "skip");
    assert!(gate(&run, "source")["reason"].as_str().unwrap().contains("when.paths"), "{run}");

    world.write("src/new", "1\n");
    let (_, run) = world.run(&["--base", "main"]);
    assert_eq!(result(&run, "source"), "success", "{run}");
    assert_eq!(result(&run, "not_docs"), "success");
    let shown = world.sandgate(&["logs", "source"]).stdout;
    assert_eq!(shown, "docs/a\nsrc/new\n");
}

#[test]
fn a_repository_that_cannot_be_written_and_lies_elsewhere_is_tested_all_the_same() {
    let config =
        "version: 1\ngates: { history: { run: 'git log --format=%s; git fsck --strict' } }\n";
    let world = World::with_files(&[(".sandgate.yaml", config)]);
    world.write("more", "more\n");
    world.commit("second \"quoted\"");
    let disk = match SmallDisk::mount(world.path("elsewhere: \"\\"), "64m") {
        Ok(disk) => disk,
        Err(reason) => {
            return skip("a_repository_elsewhere", &format!("no tmpfs can be mounted: {reason}"));
        }
    };
    let copy = disk.0.join("copy");
    world.git(&["clone", "--quiet", "--no-hardlinks", ".", copy.to_str().unwrap()]);
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status().unwrap();
    assert!(status.success());
    assert!(std::fs::write(copy.join("probe"), "").is_err(), "it can be written");
    for arguments in [&["run"][..], &["run", "--ref", "HEAD"]] {
        let mut command = world.command(arguments);
        command.current_dir(&copy);
        let ended = world.finish(command);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let mut command = world.command(["logs", "history", "--stream", "stdout"]);
        command.current_dir(&copy);
        assert_eq!(world.finish(command).stdout, "second \"quoted\"\nstart\n");
    }
}
