//! Layers of commits and the `.git` in them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sandgate_node::Error;
use sandgate_node::layers::{COMMIT_TIME, SETUP_TIME};
use sandgate_node::source::{SetupFacts, SourceOptions, UnsupportedEntry};

use crate::support::{Fixture, git_in, layer_id, modified, owner};

#[test]
fn a_commit_becomes_a_clean_checkout() {
    let fixture = Fixture::new();
    fixture.write("src/main.rs", "fn main() {}\n");
    fixture.write("run.sh", "#!/bin/sh\n");
    fixture.write("odd \u{e9}\nname", "x");
    fixture.write("empty", "");
    let script = fixture.repo().join("run.sh");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", fixture.repo().join("link")).unwrap();
    let base = fixture.commit("one");
    fixture.git(&["tag", "-a", "v1", "-m", "v1"]);
    fixture.git(&["tag", "light"]);
    fixture.write("src/main.rs", "fn main() { }\n");
    let head = fixture.commit("two");

    let (repository, store) = (fixture.open(), fixture.store());
    let sha = repository.resolve("main").unwrap();
    assert_eq!(sha.as_str(), head);
    let base = repository.resolve(&base[..10]).unwrap();
    let tree = repository.commit_tree(&sha).unwrap();
    let branch = "feature/x".parse().unwrap();
    let options = SourceOptions { base: Some(&base), branch: Some(&branch), setup: None };
    let layer = repository.source_layer(&store, layer_id(1), &tree, &options, owner()).unwrap();

    let workspace = layer.path.join("workspace");
    assert_eq!(std::fs::read_to_string(workspace.join("src/main.rs")).unwrap(), "fn main() { }\n");
    assert_eq!(std::fs::read_link(workspace.join("link")).unwrap().to_str(), Some("/etc/passwd"));
    let mode = |name: &str| workspace.join(name).symlink_metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("empty"), mode("src")), (0o755, 0o644, 0o755));
    for name in ["", "src", "src/main.rs", "link", "empty", "run.sh"] {
        assert_eq!(modified(&workspace.join(name)), COMMIT_TIME, "{name}");
        if let Some((user, _)) = owner() {
            assert_eq!(workspace.join(name).symlink_metadata().unwrap().uid(), user, "{name}");
        }
    }
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), "");
    assert_eq!(
        git_in(&workspace, &["rev-parse", "HEAD", "refs/heads/feature/x", "refs/sandgate/head"]),
        format!("{head}\n{head}\n{head}\n")
    );
    assert_eq!(git_in(&workspace, &["rev-parse", "refs/sandgate/base"]).trim(), base.as_str());
    assert!(git_in(&workspace, &["describe", "--tags"]).starts_with("v1-1-g"));
    assert_eq!(git_in(&workspace, &["log", "--format=%s"]), "two\none\n");
    assert_eq!(git_in(&workspace, &["remote"]), "");
    git_in(&workspace, &["fsck", "--strict"]);
    assert!(!workspace.join(".git/hooks").exists());
    // It can be worked in.
    std::fs::write(workspace.join("empty"), "more").unwrap();
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), " M empty\n");
    git_in(&workspace, &["commit", "-qam", "inside"]);
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), "");
}

#[test]
fn the_index_knows_the_files_without_reading_them() {
    let fixture = Fixture::new();
    fixture.write("a", "aaaa");
    fixture.commit("one");
    let (repository, store) = (fixture.open(), fixture.store());
    let tree = repository.commit_tree(repository.head().unwrap()).unwrap();
    let options = SourceOptions::default();
    let layer = repository.source_layer(&store, layer_id(1), &tree, &options, owner()).unwrap();
    let file = layer.path.join("workspace/a");
    // Same size, same time: git can only miss this if it trusts the index, which is what is tested here.
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "bbbb").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    assert_eq!(git_in(&layer.path.join("workspace"), &["status", "--porcelain"]), "");
}

#[test]
fn a_long_history_is_cut_and_a_shallow_source_stays_so() {
    let fixture = Fixture::new();
    for number in 0..70 {
        fixture.write("n", &number.to_string());
        fixture.commit(&number.to_string());
    }
    fixture.git(&["tag", "old", "HEAD~65"]);
    let shallow = fixture.folder.path().join("shallow");
    let source = format!("file://{}", fixture.repo().display());
    git_in(
        fixture.folder.path(),
        &["clone", "-q", "--depth=3", &source, shallow.to_str().unwrap()],
    );
    let store = fixture.store();
    for (number, path, commits) in [(1, fixture.repo(), 50), (2, shallow, 3)] {
        let repository =
            sandgate_node::source::Repository::open(&crate::support::git_program(), &path).unwrap();
        let tree = repository.commit_tree(repository.head().unwrap()).unwrap();
        let layer = repository
            .source_layer(&store, layer_id(number), &tree, &SourceOptions::default(), owner())
            .unwrap();
        let workspace = layer.path.join("workspace");
        assert_eq!(
            git_in(&workspace, &["rev-list", "--count", "HEAD"]).trim(),
            commits.to_string()
        );
        assert_eq!(git_in(&workspace, &["tag"]), "");
        git_in(&workspace, &["fsck", "--strict"]);
    }
}

#[test]
fn a_setup_sees_its_inputs_only_and_their_time_stays() {
    let fixture = Fixture::new();
    fixture.write("Cargo.toml", "[workspace]\n");
    fixture.write("a/src/lib.rs", "pub fn a() {}\n");
    fixture.write("b/src/main.rs", "fn main() {}\n");
    fixture.write("README.md", "secret\n");
    fixture.commit("one");
    let (repository, store) = (fixture.open(), fixture.store());
    let tree = repository.commit_tree(repository.head().unwrap()).unwrap();
    let globs = |list: &[&str]| list.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
    let inputs = repository
        .inputs(&tree, &globs(&["Cargo.toml", "*/Cargo.toml"]), &globs(&["**/src/*.rs"]))
        .unwrap();
    let layer = repository.inputs_layer(&store, layer_id(1), &tree, &inputs, owner()).unwrap();
    let workspace = layer.path.join("workspace");
    assert!(!workspace.join("README.md").exists() && !workspace.join(".git").exists());
    assert_eq!(std::fs::read(workspace.join("a/src/lib.rs")).unwrap(), b"");
    for name in ["", "Cargo.toml", "a", "a/src", "a/src/lib.rs", "b/src/main.rs"] {
        assert_eq!(modified(&workspace.join(name)), SETUP_TIME, "{name}");
    }

    let options = SourceOptions { setup: Some(&inputs), ..SourceOptions::default() };
    let layer = repository.source_layer(&store, layer_id(2), &tree, &options, owner()).unwrap();
    let workspace = layer.path.join("workspace");
    assert_eq!(modified(&workspace.join("Cargo.toml")), SETUP_TIME);
    assert_eq!(modified(&workspace.join("a/src/lib.rs")), COMMIT_TIME);
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), "");

    let commands = globs(&["cargo fetch"]);
    let facts = SetupFacts {
        commands: &commands,
        environment: &[],
        network: "full",
        base_fingerprint: "f",
        trust_domain: "default/member",
    };
    let key = inputs.setup_key(&facts);
    fixture.write("README.md", "other\n");
    fixture.write("a/src/lib.rs", "pub fn b() {}\n");
    let key_after = |fixture: &Fixture| {
        let repository = fixture.open();
        let tree = repository.working_tree(None).unwrap();
        let inputs = repository
            .inputs(&tree, &globs(&["Cargo.toml", "*/Cargo.toml"]), &globs(&["**/src/*.rs"]))
            .unwrap();
        inputs.setup_key(&facts)
    };
    assert_eq!(key, key_after(&fixture), "neither a source nor a README is an input");
    fixture.write("Cargo.toml", "[workspace]\nmembers = []\n");
    assert_ne!(key, key_after(&fixture));
    assert_ne!(key, inputs.setup_key(&SetupFacts { trust_domain: "default/fork", ..facts }));
    assert_ne!(key, inputs.setup_key(&SetupFacts { network: "none", ..facts }));
}

#[test]
fn submodules_and_lfs_pointers_are_listed() {
    let fixture = Fixture::new();
    fixture.write("x", "x");
    let inner = fixture.commit("one");
    fixture.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    fixture
        .write("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
    fixture.git(&["add", "-A"]);
    let entry = format!("160000,{inner},lib/sub");
    fixture.git(&["update-index", "--add", "--cacheinfo", &entry]);
    fixture.git(&["commit", "-qm", "two"]);
    let (repository, store) = (fixture.open(), fixture.store());
    let tree = repository.commit_tree(repository.head().unwrap()).unwrap();
    assert_eq!(
        tree.unsupported(),
        [
            UnsupportedEntry::Submodule { path: "lib/sub".to_owned() },
            UnsupportedEntry::LfsPointer { path: "big.bin".to_owned() },
        ]
    );
    let layer = repository
        .source_layer(&store, layer_id(1), &tree, &SourceOptions::default(), owner())
        .unwrap();
    let workspace = layer.path.join("workspace");
    assert!(workspace.join("lib/sub").is_dir());
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), "");
}

/// Makes a tree with entries that git itself would refuse to make.
fn hostile_commit(fixture: &Fixture, entries: &[(&str, &str, &str)]) -> String {
    use std::io::Write;
    let blob = |text: &str| {
        fixture.write("scratch-blob", text);
        fixture.git(&["hash-object", "-w", "scratch-blob"]).trim().to_owned()
    };
    let mut raw = Vec::new();
    for (mode, name, content) in entries {
        let sha = if *mode == "40000" {
            let inner = format!("100644 blob {}\tpasswd\n", blob(content));
            let mut child = std::process::Command::new("git")
                .args(["mktree"])
                .current_dir(fixture.repo())
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(inner.as_bytes()).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
        } else {
            blob(content)
        };
        write!(raw, "{mode} {name}\0").unwrap();
        raw.extend((0..20).map(|n| u8::from_str_radix(&sha[n * 2..n * 2 + 2], 16).unwrap()));
    }
    let file = fixture.folder.path().join("tree");
    std::fs::write(&file, raw).unwrap();
    let tree =
        fixture.git(&["hash-object", "-w", "-t", "tree", "--literally", file.to_str().unwrap()]);
    fixture.git(&["commit-tree", "-m", "bad", tree.trim()]).trim().to_owned()
}

#[test]
fn hostile_trees_write_nothing_outside() {
    let outside = tempfile::TempDir::new().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let cases: [&[(&str, &str, &str)]; 6] = [
        &[("120000", "a", &target), ("40000", "a", "root::0:0\n")],
        &[("40000", "a", "root::0:0\n"), ("120000", "a", &target)],
        &[("100644", "..", "x")],
        &[("40000", ".GIT", "x")],
        &[("100644", "a", "1"), ("100644", "a", "2")],
        &[("120000", "a", "")],
    ];
    for (number, entries) in cases.iter().enumerate() {
        let fixture = Fixture::new();
        fixture.write("x", "x");
        fixture.commit("one");
        let sha = hostile_commit(&fixture, entries);
        let (repository, store) = (fixture.open(), fixture.store());
        let sha = repository.resolve(&sha).unwrap();
        let result = repository.commit_tree(&sha).and_then(|tree| {
            let id = layer_id(number as u128);
            repository.source_layer(&store, id, &tree, &SourceOptions::default(), owner())
        });
        assert!(matches!(result, Err(Error::HostileTree { .. })), "{entries:?}: {result:?}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(
            std::fs::read_dir(fixture.folder.path().join("store/layers")).unwrap().count(),
            0,
            "nothing half made stays"
        );
    }
}
