//! Opening repositories, naming commits, and configurations that try to run programs.

use std::os::unix::fs::PermissionsExt;

use sandgate_domain::ErrorCode;
use sandgate_node::Error;
use sandgate_node::source::{BranchName, Repository, SourceOptions};

use crate::support::{Fixture, git_in, git_program, layer_id, owner};

#[test]
fn what_is_no_repository_says_so() {
    let folder = tempfile::TempDir::new().unwrap();
    let open = |path: &std::path::Path| Repository::open(&git_program(), path);
    assert!(matches!(open(folder.path()), Err(Error::NotARepository(_))));
    assert!(matches!(open(&folder.path().join("no")), Err(Error::Io { .. })));
    let fixture = Fixture::new();
    assert!(matches!(open(&fixture.repo()), Err(Error::EmptyRepository(_))));
    fixture.write("deep/file", "x");
    let sha = fixture.commit("one");
    let deep = open(&fixture.repo().join("deep")).unwrap();
    assert_eq!(deep.top_level(), Some(fixture.repo().canonicalize().unwrap().as_path()));
    assert_eq!(deep.branch().unwrap().as_deref(), Some("main"));

    let bare = fixture.folder.path().join("bare.git");
    git_in(fixture.folder.path(), &["clone", "-q", "--bare", "repo", "bare.git"]);
    let bare = open(&bare).unwrap();
    assert_eq!(bare.resolve("main").unwrap().as_str(), sha);
    assert!(matches!(bare.working_tree(None), Err(Error::BareRepository(_))));

    let linked = fixture.folder.path().join("linked");
    fixture.git(&["worktree", "add", "-q", "--detach", linked.to_str().unwrap()]);
    let linked = open(&linked).unwrap();
    assert_eq!(linked.head().unwrap().as_str(), sha);
    assert!(!linked.working_tree(None).unwrap().dirty());
}

#[test]
fn revisions_are_found_or_refused_with_a_reason() {
    let fixture = Fixture::new();
    fixture.write("x", "x");
    let sha = fixture.commit("one");
    fixture.git(&["branch", "feature/\u{e4}-1"]);
    let repository = fixture.open();
    for good in ["main", "HEAD", &sha, &sha[..8], "feature/\u{e4}-1", "refs/heads/main"] {
        assert_eq!(repository.resolve(good).unwrap().as_str(), sha, "{good}");
    }
    let long = "a".repeat(4096);
    for bad in
        ["", "-rf", "--upload-pack=x", "a\nb", "main..main", "a\0b", "HEAD:x", &long, "\u{1b}[31m"]
    {
        let error = repository.resolve(bad).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{bad:?}");
        assert!(!error.to_string().contains(['\n', '\u{1b}']), "{error}");
        assert!(error.to_string().len() < 500);
    }
    for missing in
        ["no-such", "deadbeef", &"0".repeat(40), &"f".repeat(40), "main^{tree}", "main~9", "@{u}"]
    {
        let error = repository.resolve(missing).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound, "{missing}: {error}");
    }
    for bad in [
        "a..b", "a b", "a~1", "-a", "a.lock", "/a", "a//b", ".a", "a\n", "HEAD", "@", "a@{1}",
        &long,
    ] {
        assert!(bad.parse::<BranchName>().is_err(), "{bad:?}");
    }
}

#[test]
fn no_setting_of_a_repository_runs_a_program() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a\n");
    fixture.write(".gitattributes", "* filter=evil diff=evil merge=evil text=auto\n");
    fixture.commit("one");
    let witness = fixture.folder.path().join("ran");
    let script = fixture.folder.path().join("evil.sh");
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", witness.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let other = fixture.folder.path().join("included");
    std::fs::write(&other, format!("[core]\n\tfsmonitor = {script}\n\tsshCommand = {script}\n"))
        .unwrap();
    for (key, value) in [
        ("core.fsmonitor", script),
        ("core.hooksPath", fixture.folder.path().to_str().unwrap()),
        ("core.sshCommand", script),
        ("core.pager", script),
        ("core.editor", script),
        ("core.askPass", script),
        ("core.gitProxy", script),
        ("core.alternateRefsCommand", script),
        ("core.worktree", "/"),
        ("filter.evil.clean", script),
        ("filter.evil.smudge", script),
        ("filter.evil.process", script),
        ("filter.evil.required", "true"),
        ("diff.evil.command", script),
        ("diff.evil.textconv", script),
        ("diff.external", script),
        ("uploadpack.packObjectsHook", script),
        ("alias.rev-parse", &format!("!{script}")),
        ("alias.ls-files", &format!("!{script}")),
        ("credential.helper", script),
        ("gpg.program", script),
        ("include.path", other.to_str().unwrap()),
        ("protocol.ext.allow", "always"),
        ("remote.origin.url", &format!("ext::{script}")),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
        ("log.showSignature", "true"),
    ] {
        fixture.git(&["config", key, value]);
    }
    for hook in ["post-index-change", "reference-transaction", "pre-commit", "post-checkout"] {
        let hook = fixture.repo().join(".git/hooks").join(hook);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::copy(script, &hook).unwrap();
    }
    fixture.write("a.txt", "b\n");
    fixture.write("new.txt", "n\n");
    // The control: git itself does run them.
    std::process::Command::new("git")
        .args(["--work-tree", ".", "status"])
        .current_dir(fixture.repo())
        .output()
        .unwrap();
    assert!(witness.exists(), "the settings must be able to run programs at all");
    std::fs::remove_file(&witness).unwrap();

    let (repository, store) = (fixture.open(), fixture.store());
    let commit = repository.commit_tree(&repository.resolve("main").unwrap()).unwrap();
    let working = repository.working_tree(None).unwrap();
    assert_eq!(working.paths().count(), 3, "{:?}", working.paths().collect::<Vec<_>>());
    assert_eq!(working.changed_since(&commit), [b"a.txt".to_vec(), b"new.txt".to_vec()]);
    for (number, tree) in [(1, &commit), (2, &working)] {
        let options = SourceOptions::default();
        let layer =
            repository.source_layer(&store, layer_id(number), tree, &options, owner()).unwrap();
        let config = std::fs::read_to_string(layer.path.join("workspace/.git/config")).unwrap();
        assert!(!config.contains("evil"));
    }
    // A missing object must not be fetched either.
    let missing = repository.resolve(&"1".repeat(40));
    assert!(missing.is_err());
    assert!(!witness.exists(), "a setting of the repository ran a program");
}
