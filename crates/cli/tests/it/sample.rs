//! The sample repository of the demonstration, run as a user would run it.

use std::path::Path;

use crate::world::{World, gate};

/// The files of a folder of the sample, as they are named in a checkout.
fn files(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/demo/sample").join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let name = match name.as_str() {
                "gitignore" | "sandgate.yaml" => format!(".{name}"),
                "greeting.sh" => "src/greeting.sh".to_owned(),
                "tests.sh" => "tests/greeting.sh".to_owned(),
                _ => name,
            };
            found.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    found
}

fn sample(change: &str) -> World {
    let world = World::new();
    for (path, content) in files("base").iter().chain(&files(change)) {
        world.write(path, content);
    }
    world.commit("start");
    world
}

#[test]
fn the_good_change_passes_every_gate() {
    let (ended, run) = sample("good").run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(run["result"], "success");
    assert!(run["approvedSnapshot"].is_string(), "{run}");
    let reports = &gate(&run, "unit")["reports"];
    assert_eq!((&reports["tests"], &reports["failed"]), (&6.into(), &0.into()));
}

#[test]
fn the_bad_change_fails_in_one_test_that_is_named_with_file_and_line() {
    let world = sample("bad");
    let (ended, run) = world.run(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(run["result"], "failure");
    let reports = &gate(&run, "unit")["reports"];
    assert_eq!((&reports["tests"], &reports["failed"]), (&6.into(), &1.into()), "{reports}");
    let failure = &reports["failures"][0];
    assert_eq!(failure["name"], "keeps the spaces inside a name");
    assert_eq!((&failure["file"], &failure["line"]), (&"tests/greeting.sh".into(), &7.into()));
    assert_eq!(gate(&run, "build")["result"], "success");
    let inside = world.debug("unit", &["sh", "dist/greeting", "Ada Lovelace"]);
    assert_eq!(inside.stdout, "Hello, AdaLovelace!\n", "{}", inside.stderr);
}
