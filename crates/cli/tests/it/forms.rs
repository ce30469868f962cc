//! The forms of data on standard output, the flags that every command takes, and ids by their start.

use serde_json::Value;

use crate::serving::served;
use crate::support::{GATE, LIVE_RUN, RUN};
use crate::world::World;

/// The documents of an output, in whatever form.
fn documents(form: &str, text: &str) -> Vec<Value> {
    match form {
        "json" => vec![serde_json::from_str(text).unwrap()],
        "jsonl" => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        _ => vec![serde_saphyr::from_str(text).unwrap()],
    }
}

#[test]
fn every_command_that_prints_data_prints_it_in_every_form() {
    let (world, _front) = served();
    let pull = ["pr", "show", "7", "--repo", "acme/web"];
    let logs = ["logs", "unit (node=20)", "--run", RUN];
    for command in [
        &["status", "--all"][..],
        &["repo", "list"],
        &["pr", "list", "--repo", "acme/web"],
        &pull,
        &logs,
        &["config", "view"],
        &["schema"],
    ] {
        let print = |form: &str| {
            let printed = world.sandgate(&[command, &["-o", form]].concat());
            assert_eq!(printed.code, 0, "{command:?} {form}: {}", printed.stderr);
            assert!(!printed.stdout.is_empty(), "{command:?} {form}");
            printed.stdout
        };
        let json = documents("json", &print("json"));
        assert_eq!(documents("yaml", &print("yaml")), json, "{command:?}");
        let lines = documents("jsonl", &print("jsonl"));
        match json[0]["items"].as_array() {
            Some(items) => assert_eq!(&lines, items, "{command:?}"),
            None => assert_eq!(lines, json, "{command:?}"),
        }
    }
    let names = |command: &[&str]| world.sandgate(&[command, &["-o", "name"]].concat()).stdout;
    assert_eq!(names(&["repo", "list"]), "acme/web\n");
    assert_eq!(names(&["status", "--all"]), format!("{LIVE_RUN}\n{RUN}\n"));
    assert_eq!(names(&pull), "7\n");
    assert_eq!(names(&logs), format!("{GATE}\n"));
}

#[test]
fn flags_stand_before_or_after_the_command() {
    let (world, _front) = served();
    let after = world.sandgate(&["status", "--all", "-q", "--color", "never", "-o", "name"]);
    let before = world.sandgate(&["-q", "--color", "never", "-o", "name", "status", "--all"]);
    assert_eq!((after.code, before.code), (0, 0), "{}{}", after.stderr, before.stderr);
    assert_eq!(after.stdout, before.stdout);
    let table = |more: &[&str]| world.sandgate(&[&["status", "--all"], more].concat());
    assert!(table(&[]).stderr.contains("next: "), "{}", table(&[]).stderr);
    assert_eq!(table(&["-q"]).stderr, "");
    let refused = world.sandgate(&["debug", "unit", "--no-input"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("-- rerun"), "{}", refused.stderr);
}

#[test]
fn errors_come_in_the_form_of_the_data() {
    let world = World::new();
    let failed = |form: &str| {
        let ended = world.sandgate(&["repo", "list", "-o", form]);
        assert_eq!((ended.code, ended.stdout.as_str()), (7, ""), "{}", ended.stderr);
        ended.stderr
    };
    for form in ["json", "yaml"] {
        let problem = &documents(form, &failed(form))[0];
        assert_eq!(problem["code"], "unavailable", "{problem}");
        assert!(problem["help"].as_str().unwrap().contains("sandgate dev"), "{problem}");
    }
    assert!(failed("table").starts_with("error[unavailable]: "));
}

#[test]
fn a_run_is_named_by_the_start_of_its_id() {
    let (world, _front) = served();
    let logs = |gate: &str, run: &str| world.sandgate(&["logs", gate, "--run", run]);
    let whole = logs("unit (node=20)", RUN);
    assert!(whole.code == 0 && whole.stdout.contains("FAILED"), "{}", whole.stderr);
    let start = logs("unit (node=20)", &RUN[..RUN.len()]);
    assert_eq!(start.stdout, whole.stdout);
    let common = &RUN[4..20];
    for run in [common, &format!("run_{common}")] {
        let several = logs("unit", run);
        assert_eq!(several.code, 2, "{}", several.stderr);
        assert!(several.stderr.contains("more than one id"), "{}", several.stderr);
        assert!(several.stderr.contains(LIVE_RUN), "{}", several.stderr);
        assert!(several.stderr.contains("help: give more of its digits"), "{}", several.stderr);
    }
    assert_eq!(logs("unit", "ffff").code, 5);
    let wrong = logs("unit", "run_x");
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("no id of the form"), "{}", wrong.stderr);
}

#[test]
fn shells_learn_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.sandgate(&["completions", shell]);
        assert_eq!(script.code, 0, "{}", script.stderr);
        for word in ["sandgate", "snapshot", "show-origin"] {
            assert!(script.stdout.contains(word), "{shell} knows no {word}");
        }
    }
    assert_eq!(world.sandgate(&["completions", "none"]).code, 2);
}
