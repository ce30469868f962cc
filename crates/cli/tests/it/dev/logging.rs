//! What `dev` writes for machines: one document a line, by dotted names, without a secret.

use serde_json::Value;

use super::harness::{Change, Dev, SECRET, command, world_with};
use crate::world::{until, until_within};

const FAILING: &str = "version: 1\ngates:\n  unit: { run: 'cat file.txt; exit 1' }\n";
/// What every line may have beside the dotted fields of its event.
const PLAIN: [&str; 6] = ["timestamp", "level", "target", "message", "error", "reason"];

#[test]
fn every_line_for_machines_is_a_document_without_secrets() {
    let world = world_with(FAILING);
    let mut serve = command(&world, Some(SECRET));
    serve.args(["--log-format", "json", "-v", "-v"]);
    let started = world.start(serve);
    until("the server to serve", || started.stderr().contains("\"serving\""));
    let token = std::fs::read_to_string(world.state().join("sandgate/token")).unwrap();
    let addresses: Value = serde_json::from_str(&started.stdout()).unwrap();
    let link =
        format!("http://{}/login?token={}", addresses["http"].as_str().unwrap(), token.trim());
    let dev = Dev::around(&world, started, link);
    dev.add_repository();
    dev.announce("one", &Change::opened());
    dev.concluded(1, "failure");
    until_within(std::time::Duration::from_secs(10), "a request to be told", || {
        dev.stderr().contains("http.route")
    });
    let stderr = dev.stderr();
    dev.stop();
    let mut names = std::collections::BTreeSet::new();
    for line in stderr.lines() {
        let document: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let fields = document.as_object().unwrap();
        for name in ["timestamp", "level", "target"] {
            assert!(fields[name].is_string(), "no {name}: {line}");
        }
        names.extend(fields.keys().cloned());
    }
    for name in ["http.address", "grpc.address", "token.path", "http.route", "http.duration_us"] {
        assert!(names.contains(name), "no {name} among {names:?}");
    }
    let plain: Vec<&String> = names
        .iter()
        .filter(|name| !name.contains('.') && !PLAIN.contains(&name.as_str()))
        .collect();
    assert!(plain.is_empty(), "names without a dot: {plain:?}");
    for secret in [token.trim(), SECRET] {
        assert!(!stderr.contains(secret), "a secret is in the log");
    }
}
