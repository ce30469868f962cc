//! `sandgate config view`: the layers, where each value comes from, and what is refused.

use serde_json::Value;

use crate::world::{Ended, World};

const FILE: &str = "server:\n  listen: 127.0.0.1:7001\n  grpcListen: 127.0.0.1:7002\n\
                    trust:\n  members: [ada, grace]\nwebhooks:\n  github:\n    secrets: [from-the-file]\n";

/// Runs `config view` with a file, variables and more arguments.
fn view(world: &World, arguments: &[&str]) -> Ended {
    let mut command = world.command(["config", "view"]);
    command
        .args(arguments)
        .env("SANDGATE__SERVER__GRPC_LISTEN", "127.0.0.1:7003")
        .env("GITHUB_WEBHOOK_SECRET", "from-a-variable")
        .env_remove("SANDGATE__SERVER__LISTEN");
    world.finish(command)
}

#[test]
fn each_value_tells_where_it_comes_from() {
    let world = World::with_files(&[("sandgate.yaml", FILE)]);
    let shown = view(&world, &["--show-origin", "-o", "json", "--listen", "127.0.0.1:7004"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let document: Value = serde_json::from_str(&shown.stdout).unwrap();
    let file = world.repository().canonicalize().unwrap().join("sandgate.yaml");
    let items = document["items"].as_array().unwrap();
    let members = format!("{}:5:12", file.display());
    for (key, value, origin) in [
        ("server.listen", "127.0.0.1:7004", "--listen"),
        ("server.grpcListen", "127.0.0.1:7003", "SANDGATE__SERVER__GRPC_LISTEN"),
        ("trust.members", "ada, grace", members.as_str()),
        ("trust.agents", "", "default"),
        ("webhooks.github.secrets", "<redacted>", "GITHUB_WEBHOOK_SECRET"),
    ] {
        let row = items.iter().find(|row| row["key"] == key).unwrap();
        assert_eq!((&row["value"], &row["origin"]), (&value.into(), &origin.into()), "{key}");
    }
    for arguments in
        [&[][..], &["--show-origin"], &["-o", "yaml"], &["-o", "jsonl"], &["-o", "name"]]
    {
        let shown = view(&world, arguments);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert_eq!(
            shown.stdout.contains("GITHUB_WEBHOOK_SECRET"),
            arguments == ["--show-origin"],
            "{}",
            shown.stdout
        );
        assert!(shown.stdout.contains("trust.members"), "{}", shown.stdout);
        for secret in ["from-the-file", "from-a-variable"] {
            assert!(!shown.stdout.contains(secret), "{arguments:?}: {}", shown.stdout);
        }
    }
}

#[test]
fn a_named_file_replaces_the_one_of_the_folder_before_and_after_the_command() {
    let world = World::with_files(&[
        ("sandgate.yaml", FILE),
        ("other.yaml", "server: { listen: '127.0.0.1:7005' }\n"),
    ]);
    for arguments in [
        &["--config", "other.yaml", "config", "view", "-o", "yaml"][..],
        &["config", "view", "-o", "yaml", "--config", "other.yaml"],
    ] {
        let shown = world.sandgate(arguments);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert!(shown.stdout.contains("127.0.0.1:7005"), "{}", shown.stdout);
        assert!(!shown.stdout.contains("ada"), "{}", shown.stdout);
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let world = World::with_files(&[
        ("typo.yaml", "server:\n  lisen: 127.0.0.1:1\n"),
        ("kind.yaml", "trust:\n  members: { ada: 1 }\n"),
    ]);
    for (file, parts) in [
        ("typo.yaml", &["typo.yaml:2:3", "did you mean `server.listen`?"][..]),
        ("kind.yaml", &["kind.yaml:2:12", "list"]),
        ("missing.yaml", &["missing.yaml", "can't be opened"]),
    ] {
        for command in [&["config", "view"][..], &["dev", "--listen", "127.0.0.1:0"]] {
            let refused = world.sandgate(&[command, &["--config", file]].concat());
            assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{}", refused.stderr);
            for part in parts {
                assert!(refused.stderr.contains(part), "{file}: {}", refused.stderr);
            }
        }
    }
    let mut command = world.command(["config", "view"]);
    command.env("SANDGATE__SERVER__LISEN", "x");
    let refused = world.finish(command);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("SANDGATE__SERVER__LISEN"), "{}", refused.stderr);
    assert!(refused.stderr.contains("server.listen"), "{}", refused.stderr);
}
