//! Sources that want git to run something. Each trap has a positive control: plain git in that source fires it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sandgate_forge::Error;
use sandgate_forge::local::Wanted;

use crate::repository::{Repository, branch, commit, mirrors, name, plain_git};

/// A script that leaves a mark when it runs.
struct Trap {
    script: PathBuf,
    mark: PathBuf,
}

impl Trap {
    fn new(source: &Repository) -> Self {
        let folder = source.path.parent().unwrap().to_owned();
        let trap = Self { script: folder.join("trap"), mark: folder.join("mark") };
        let text = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\nexit 1\n", trap.mark.display());
        std::fs::write(&trap.script, text).unwrap();
        std::fs::set_permissions(&trap.script, PermissionsExt::from_mode(0o755)).unwrap();
        trap
    }

    fn text(&self) -> &str {
        self.script.to_str().unwrap()
    }

    /// Whether it fired since the last call.
    fn fired(&self) -> bool {
        std::fs::remove_file(&self.mark).is_ok()
    }

    fn install_hooks(&self, git_dir: &std::path::Path) {
        let hooks = git_dir.join("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        for hook in [
            "pre-receive",
            "update",
            "post-receive",
            "post-update",
            "reference-transaction",
            "post-checkout",
            "pre-auto-gc",
            "proc-receive",
            "push-to-checkout",
            "fsmonitor-watchman",
        ] {
            std::fs::copy(&self.script, hooks.join(hook)).unwrap();
        }
    }
}

#[tokio::test]
async fn configuration_and_hooks_of_a_source_run_nothing() {
    let source = Repository::new();
    let base = source.head();
    source.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = source.commit("data.bin", "x\n");
    std::fs::write(source.path.join(".gitattributes"), "* filter=evil diff=evil merge=evil\n")
        .unwrap();
    let head2 = source.commit("more", "x\n");
    let trap = Trap::new(&source);
    let evil = trap.text();
    for (key, value) in [
        ("core.fsmonitor", evil),
        ("core.sshCommand", evil),
        ("core.gitProxy", evil),
        ("core.alternateRefsCommand", evil),
        ("core.pager", evil),
        ("core.askPass", evil),
        ("credential.helper", evil),
        ("diff.external", evil),
        ("diff.evil.textconv", evil),
        ("diff.evil.command", evil),
        ("filter.evil.smudge", evil),
        ("filter.evil.clean", evil),
        ("merge.evil.driver", evil),
        ("uploadpack.packObjectsHook", evil),
        ("gpg.program", evil),
        ("remote.origin.uploadpack", evil),
        ("remote.origin.receivepack", evil),
        ("remote.origin.url", "."),
    ] {
        source.git(&["config", key, value]);
    }
    let included = source.path.parent().unwrap().join("included");
    std::fs::write(&included, format!("[core]\n\tfsmonitor = {evil}\n")).unwrap();
    source.git(&["config", "includeIf.gitdir:/.path", included.to_str().unwrap()]);
    let hooks = source.path.join(".git/hooks");
    source.git(&["config", "core.hooksPath", hooks.to_str().unwrap()]);
    trap.install_hooks(&source.path.join(".git"));

    for arguments in [
        vec!["status"],
        vec!["update-ref", "refs/heads/control", "HEAD"],
        vec!["diff", "HEAD~1", "HEAD"],
        vec!["fetch", "origin"],
    ] {
        source.try_git(&arguments);
        assert!(trap.fired(), "the positive control `git {arguments:?}` did not fire");
    }
    std::fs::remove_file(source.path.join("data.bin")).unwrap();
    source.try_git(&[
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "checkout",
        "--",
        "data.bin",
    ]);
    assert!(trap.fired(), "the positive control of the filter did not fire");

    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    mirror.fetch(&[Wanted::Commit(head.clone()), Wanted::Branches]).await.unwrap();
    mirror.push_branch(&branch("pushed"), &source.path, None).await.unwrap();
    mirror.set_branch(&branch("set"), &head).await.unwrap();
    mirror.merge_commit(&base, &head2).await.unwrap();
    mirror.changed_paths(&base, &head2).await.unwrap();
    mirror.read_file(&head2, "data.bin", 99).await.unwrap();
    mirror.delete_branch(&branch("set")).await.unwrap();
    let fired = std::fs::read_to_string(&trap.mark).unwrap_or_default();
    assert!(!trap.fired(), "{fired}");
}

#[tokio::test]
async fn a_partial_clone_fetches_nothing_behind_our_back() {
    let source = Repository::new();
    let head = source.commit("wanted", "some content\n");
    let blob = source.git(&["rev-parse", "HEAD:wanted"]);
    let trap = Trap::new(&source);
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "."),
        ("remote.origin.uploadpack", trap.text()),
    ] {
        source.git(&["config", key, value]);
    }
    let (directory, file) = blob.split_at(2);
    std::fs::remove_file(source.path.join(format!(".git/objects/{directory}/{file}"))).unwrap();
    source.try_git(&["cat-file", "-p", &blob]);
    assert!(trap.fired(), "the positive control did not fire");

    let (_folder, mirrors) = mirrors().await;
    mirrors.add(&name("o/r"), &source.path).await.unwrap_err();
    let other = Repository::new();
    let mirror = mirrors.add(&name("o/other"), &other.path).await.unwrap();
    mirror.push_branch(&branch("x"), &source.path, None).await.unwrap_err();
    assert!(!mirror.has(&head).await.unwrap());
    assert!(!trap.fired());
}

#[tokio::test]
async fn hostile_branch_names_of_a_source_are_data() {
    let source = Repository::new();
    let head = source.head();
    let names = ["-x", "--upload-pack=touch mark", "$(touch mark)", "a;touch mark", "ü\u{202e}x"];
    let literal: Vec<String> = names.iter().map(|name| name.replace(' ', "_")).collect();
    for name in &literal {
        source.git(&["update-ref", &format!("refs/heads/{name}"), head.as_str()]);
    }
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    for text in &literal {
        let name = branch(text);
        mirror.fetch(&[Wanted::Branch(name.clone())]).await.unwrap();
        assert_eq!(mirror.resolve(&name).await.unwrap(), head);
        mirror.set_branch(&name, &head).await.unwrap();
        mirror.push_branch(&branch("copy"), &source.path, Some(&name)).await.unwrap();
        assert_eq!(mirror.resolve_head(&name).await.unwrap(), head);
        mirror.delete_branch(&name).await.unwrap();
    }
    assert!(!mirror.path().join("mark").exists() && !source.path.join("mark").exists());
}

#[tokio::test]
async fn unsound_objects_are_refused() {
    let source = Repository::new();
    // A tree with an entry called `.git`: what a checkout must never see.
    let blob = source.git(&["hash-object", "-w", "README"]);
    let mut tree = b"100644 .git\0".to_vec();
    for pair in blob.as_bytes().chunks(2) {
        tree.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    }
    let file = source.path.with_file_name("tree");
    std::fs::write(&file, tree).unwrap();
    let file = file.to_str().unwrap();
    let tree = source.git(&["hash-object", "-w", "-t", "tree", "--literally", file]);
    let bad = source.git(&["commit-tree", &tree, "-m", "bad"]);
    source.git(&["update-ref", "refs/heads/bad", &bad]);
    // Positive control: git as it is delivered takes it.
    let copy = source.path.with_file_name("copy.git");
    let clone = plain_git(&source.path)
        .args(["clone", "--quiet", "--bare", "--no-local", ".", copy.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(clone.status.success(), "{clone:?}");

    let (_folder, mirrors) = mirrors().await;
    let error = mirrors.add(&name("o/r"), &source.path).await.unwrap_err();
    assert!(matches!(error, Error::Unsound { .. }), "{error}");
    source.git(&["update-ref", "-d", "refs/heads/bad"]);
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    let error = mirror.fetch(&[Wanted::Commit(commit(&bad))]).await.unwrap_err();
    assert!(matches!(error, Error::Unsound { .. }), "{error}");
    assert!(!mirror.has(&commit(&bad)).await.unwrap());
}

#[tokio::test]
async fn a_mirror_never_borrows_objects() {
    let lender = Repository::new();
    let borrower = lender.path.with_file_name("borrower");
    let text = borrower.to_str().unwrap();
    lender.git(&["clone", "--quiet", "--shared", ".", text]);
    assert!(borrower.join(".git/objects/info/alternates").exists());
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &borrower).await.unwrap();
    std::fs::remove_dir_all(&lender.path).unwrap();
    std::fs::remove_dir_all(&borrower).unwrap();
    let check = plain_git(mirror.path()).args(["fsck", "--full"]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    let head = mirror.resolve(&branch("main")).await.unwrap();
    assert!(mirror.has(&head).await.unwrap());
}
