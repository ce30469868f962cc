//! The layers of the configuration and what is wrong with them.

use sandgate_chassis::{Config, ConfigFlag, ConfigSources, Environment, Error, LoadedConfig};
use tempfile::TempDir;

fn load(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<LoadedConfig, Error> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("sandgate.yaml"), file).unwrap();
    let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let environment = Environment::from_variables(pairs);
    let flags = flags.iter().map(|(key, value)| ConfigFlag {
        key,
        flag: "--listen",
        value: (*value).to_owned(),
    });
    LoadedConfig::load(ConfigSources {
        file: None,
        folder: folder.path(),
        environment: &environment,
        flags: flags.collect(),
    })
}

fn config(file: &str, variables: &[(&str, &str)]) -> Config {
    load(file, variables, &[]).unwrap().config
}

fn complaint(file: &str, variables: &[(&str, &str)]) -> String {
    let error = load(file, variables, &[]).unwrap_err();
    assert_eq!(error.code(), sandgate_domain::ErrorCode::InvalidArgument);
    error.to_string()
}

#[test]
fn later_layers_win_and_the_view_says_which() {
    let file = "server:\n  listen: 127.0.0.1:1\n";
    let variable = [("SANDGATE__SERVER__LISTEN", "127.0.0.1:2")];
    let flag = [("server.listen", "127.0.0.1:3")];
    for (loaded, port, origin) in [
        (load("", &[], &[]), 8080, "default"),
        (load(file, &[], &[]), 1, "sandgate.yaml:2:11"),
        (load(file, &variable, &[]), 2, "SANDGATE__SERVER__LISTEN"),
        (load(file, &variable, &flag), 3, "--listen"),
    ] {
        let loaded = loaded.unwrap();
        assert_eq!(loaded.config.listen.port(), port);
        let shown = &loaded.view()[0];
        assert_eq!((shown.key, &shown.value), ("server.listen", &format!("127.0.0.1:{port}")));
        assert!(shown.origin.ends_with(origin), "{shown:?}");
    }
}

#[test]
fn every_key_is_read_from_the_file_and_from_variables() {
    let file = "server: { listen: '[::1]:1', grpcListen: 127.0.0.1:0, allowedHosts: [a.example, b] }\n\
                webhooks:\n  github:\n    secrets: [1234, 'two, words']\n\
                trust: { members: [ann], agents: bot }\n\
                admission: { slots: 3, cpuOvercommit: 1.5, memory: 16Gi }\n";
    let variables = [
        ("SANDGATE__SERVER__LISTEN", "[::1]:1"),
        ("SANDGATE__SERVER__GRPC_LISTEN", "127.0.0.1:0"),
        ("SANDGATE__SERVER__ALLOWED_HOSTS", "[a.example, b]"),
        ("SANDGATE__WEBHOOKS__GITHUB__SECRETS", "1234\ntwo, words"),
        ("SANDGATE__TRUST__MEMBERS", "ann"),
        ("SANDGATE__TRUST__AGENTS", "bot,"),
        ("SANDGATE__ADMISSION__SLOTS", "3"),
        ("SANDGATE__ADMISSION__CPU_OVERCOMMIT", "1.50"),
        ("SANDGATE__ADMISSION__MEMORY", "16384Mi"),
    ];
    let from_file = config(file, &[]);
    assert_eq!(from_file, config("# nothing\n", &variables));
    assert_eq!(from_file.webhook_secrets[0].reveal(), "1234");
    assert_eq!(from_file.slots, Some(3));
    assert_eq!(from_file.cpu_overcommit_percent, 150);
    assert_eq!(from_file.memory_bytes, Some(16 << 30));
    let defaults = config("", &[]);
    assert_eq!((defaults.cpu_overcommit_percent, defaults.memory_bytes), (200, None));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (file, expected) in [
        (
            "server:\n  lisen: x\n",
            "sandgate.yaml:2:3: unknown key `server.lisen`; did you mean `server.listen`?",
        ),
        ("zebra: 1\n", "sandgate.yaml:1:1: unknown key `zebra`; the keys are server.listen"),
        ("server.listen: 127.0.0.1:1\n", "sandgate.yaml:1:1: unknown key"),
        ("server: 3\n", "sandgate.yaml:1:9: `server` holds keys"),
        ("- a\n", "sandgate.yaml:1:1: the file holds keys"),
        ("server:\n  listen: [a]\n", "sandgate.yaml:2:11: `server.listen` takes one text"),
        ("trust:\n  members: {a: b}\n", "sandgate.yaml:2:12: `trust.members` takes a list"),
        ("trust:\n  members: [[a]]\n", "sandgate.yaml:2:13: `trust.members` takes a list"),
        ("server:\n  listen: nowhere\n", "sandgate.yaml:2:11: `server.listen` is no address"),
        (
            "server:\n  listen: 0.0.0.0:1\n",
            "sandgate.yaml:2:11: `server.listen` is 0.0.0.0:1, which other",
        ),
        ("trust: {}\ntrust: {}\n", "sandgate.yaml:2:1: the key `trust` stands here a second time"),
        ("admission: { slots: 0 }\n", "sandgate.yaml:1:21: `admission.slots` is no number"),
        ("admission: { cpuOvercommit: 0 }\n", "`admission.cpuOvercommit` is no factor"),
        ("admission: { cpuOvercommit: 100.01 }\n", "`admission.cpuOvercommit` is no factor"),
        ("admission: { cpuOvercommit: 1.234 }\n", "`admission.cpuOvercommit` is no factor"),
        ("admission: { cpuOvercommit: '+1' }\n", "`admission.cpuOvercommit` is no factor"),
        ("admission: { memory: 0Gi }\n", "`admission.memory` is no size"),
        ("admission: { memory: 16 }\n", "`admission.memory` is no size"),
        ("admission: { memory: +1Gi }\n", "`admission.memory` is no size"),
        ("admission: { memory: 99999999999999999999Ti }\n", "`admission.memory` is no size"),
        ("a: &a [*a]\n", "sandgate.yaml:1:1: unknown key"),
        ("trust: { members: &a [*a] }\n", "`trust.members` takes a list"),
        ("server:\n\tlisten: x\n", "sandgate.yaml:2:"),
        ("server: {}\n---\nserver: {}\n", "more than one YAML document"),
        ("webhooks: { github: { secrets: [''] } }\n", "has an empty secret"),
        ("server: !x {}\n", "tags are not understood"),
    ] {
        let text = complaint(file, &[]);
        assert!(text.contains(expected), "{file:?}: {text}");
    }
    let large = format!("# {}\n", "x".repeat(10 << 20));
    assert!(complaint(&large, &[]).contains("more than 262144 bytes"));
    assert!(!complaint(&"{server: ".repeat(10_000), &[]).is_empty());
}

#[test]
fn wrong_variables_are_named() {
    let text = complaint("", &[("SANDGATE__SERVER__LISEN", "x")]);
    assert!(
        text.starts_with("SANDGATE__SERVER__LISEN: unknown key `server.lisen`; did you mean"),
        "{text}"
    );
    let text = complaint("", &[("SANDGATE__ADMISSION__SLOTS", "much")]);
    assert!(
        text.starts_with("SANDGATE__ADMISSION__SLOTS: `admission.slots` is no number"),
        "{text}"
    );
    let text = complaint("", &[("SANDGATE__SERVER__LISTEN_FILE", "/x")]);
    assert!(text.contains("unknown key"), "only secrets come from files: {text}");
    config("", &[("SANDGATE_DATA_DIR", "not ours"), ("SANDGATE__SERVER__LISTEN", "")]);
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secrets");
    std::fs::write(&file, "hush-old\nhush-new\n").unwrap();
    let path = file.to_str().unwrap();
    for name in ["GITHUB_WEBHOOK_SECRET_FILE", "SANDGATE__WEBHOOKS__GITHUB__SECRETS_FILE"] {
        let loaded = load("", &[(name, path)], &[]).unwrap();
        let secrets = &loaded.config.webhook_secrets;
        assert_eq!([secrets[0].reveal(), secrets[1].reveal()], ["hush-old", "hush-new"]);
        assert!(!format!("{loaded:?}{:?}", loaded.view()).contains("hush"), "{loaded:?}");
        assert!(loaded.view().iter().any(|shown| shown.origin == name));
    }
    let loaded = config("", &[("GITHUB_WEBHOOK_SECRET", "12")]);
    assert_eq!(loaded.webhook_secrets[0].reveal(), "12");
    let both = [("GITHUB_WEBHOOK_SECRET", "a"), ("GITHUB_WEBHOOK_SECRET_FILE", path)];
    assert!(complaint("", &both).contains("keep one of them"));
    let missing = [("GITHUB_WEBHOOK_SECRET_FILE", "/nowhere/at/all")];
    assert!(complaint("", &missing).contains("/nowhere/at/all"));
    let own_wins = [("GITHUB_WEBHOOK_SECRET", "a"), ("SANDGATE__WEBHOOKS__GITHUB__SECRETS", "b")];
    assert_eq!(config("", &own_wins).webhook_secrets[0].reveal(), "b");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let folder = TempDir::new().unwrap();
    let environment = Environment::default();
    let missing = folder.path().join("other.yaml");
    let sources = |file| ConfigSources {
        file,
        folder: folder.path(),
        environment: &environment,
        flags: Vec::new(),
    };
    assert!(LoadedConfig::load(sources(None)).is_ok());
    let error = LoadedConfig::load(sources(Some(&missing))).unwrap_err().to_string();
    assert!(error.contains("other.yaml"), "{error}");
}
