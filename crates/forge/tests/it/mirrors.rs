//! Adding, finding, fetching and reading.

use sandgate_domain::ErrorCode;
use sandgate_forge::Error;
use sandgate_forge::local::{Mirrors, Wanted};

use crate::repository::{Repository, branch, commit, git, mirrors, name};

#[tokio::test]
async fn a_checkout_and_a_bare_repository_are_mirrored_with_their_branches() {
    let source = Repository::new();
    let first = source.head();
    source.git(&["checkout", "--quiet", "-b", "topic/a"]);
    let second = source.commit("lib/a.txt", "a\n");
    let bare = source.to_bare();
    let (_folder, mirrors) = mirrors().await;

    for (called, path) in [("o/checkout", &source.path), ("o/bare", &bare)] {
        let mirror = mirrors.add(&name(called), path).await.unwrap();
        assert_eq!(mirror.resolve(&branch("main")).await.unwrap(), first);
        assert_eq!(mirror.resolve(&branch("topic/a")).await.unwrap(), second);
        assert_eq!(mirror.default_branch(), Some(&branch("topic/a")));
        assert_eq!(mirror.merge_base(&first, &second).await.unwrap(), Some(first.clone()));
        assert_eq!(mirror.read_file(&second, "lib/a.txt", 10).await.unwrap(), b"a\n");
        assert_eq!(
            mirror.changed_paths(&first, &second).await.unwrap().paths,
            vec!["lib/a.txt".to_owned()]
        );
        assert!(!mirror.path().join("objects/info/alternates").exists());
        assert!(!mirror.path().join("hooks").exists());
    }
    let names: Vec<String> =
        mirrors.list().unwrap().iter().map(|record| record.name.to_string()).collect();
    assert_eq!(names, ["o/bare", "o/checkout"]);
}

#[tokio::test]
async fn names_are_found_in_any_case_and_added_once() {
    let source = Repository::new();
    let (folder, mirrors) = mirrors().await;
    mirrors.add(&name("Acme/Web"), &source.path).await.unwrap();
    assert_eq!(mirrors.get(&name("acme/web")).unwrap().name(), &name("Acme/Web"));
    let again = mirrors.add(&name("acme/WEB"), &source.path).await.unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again}");

    let reopened = Mirrors::open(&folder.path().join("mirrors"), git().await).unwrap();
    assert_eq!(reopened.list().unwrap().len(), 1);
    reopened.remove(&name("acme/web")).await.unwrap();
    let gone = reopened.get(&name("acme/web")).unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    assert!(gone.to_string().contains("sandgate repo add"), "{gone}");
    assert!(source.path.join("README").exists());
    assert!(reopened.list().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_repository_is_refused_and_leaves_nothing() {
    let (folder, mirrors) = mirrors().await;
    let plain = tempfile::tempdir().unwrap();
    let file = plain.path().join("bundle");
    std::fs::write(&file, "# v2 git bundle\n").unwrap();
    for path in [plain.path(), file.as_path(), &plain.path().join("nothing")] {
        let error = mirrors.add(&name("o/r"), path).await.unwrap_err();
        assert!(matches!(error, Error::NotARepository { .. }), "{path:?}: {error}");
    }
    let empty = Repository::empty();
    let error = mirrors.add(&name("o/r"), &empty.path).await.unwrap_err();
    assert!(matches!(error, Error::EmptyRepository { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path().join("mirrors")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_an_add_leaves_nothing_to_trip_over() {
    let (folder, _mirrors) = mirrors().await;
    let dir = folder.path().join("mirrors");
    std::fs::create_dir_all(dir.join(".new-abc/mirror")).unwrap();
    std::fs::create_dir_all(dir.join(".old-abc/mirror")).unwrap();
    let reopened = Mirrors::open(&dir, git().await).unwrap();
    assert!(reopened.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_lost_machine_left_locked_is_free_after_the_next_start() {
    let source = Repository::new();
    let (folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    let head = source.commit("a", "1\n");
    let keep = mirror.path().join("refs/sandgate/keep");
    std::fs::create_dir_all(&keep).unwrap();
    std::fs::write(keep.join(format!("{head}.lock")), "").unwrap();
    std::fs::write(mirror.path().join("objects/pack/tmp_pack_x"), "half").unwrap();
    let wanted = [Wanted::Commit(head.clone())];
    assert!(mirror.fetch(&wanted).await.is_err(), "the positive control found no lock");

    let reopened = Mirrors::open(&folder.path().join("mirrors"), git().await).unwrap();
    let mirror = reopened.get(&name("o/r")).unwrap();
    mirror.fetch(&wanted).await.unwrap();
    assert!(!mirror.path().join("objects/pack/tmp_pack_x").exists());
}

#[tokio::test]
async fn a_wanted_commit_is_fetched_once_and_outlives_its_branch() {
    let source = Repository::new();
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    source.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = source.commit("a", "1\n");
    assert!(!mirror.has(&head).await.unwrap());
    mirror.fetch(&[Wanted::Commit(head.clone())]).await.unwrap();
    assert!(mirror.has(&head).await.unwrap());
    assert_eq!(mirror.read_file(&head, "a", 9).await.unwrap(), b"1\n");

    source.git(&["checkout", "--quiet", "-b", "other"]);
    let other = Wanted::Head { branch: branch("other"), commit: source.commit("b", "1\n") };
    mirror.fetch(std::slice::from_ref(&other)).await.unwrap();
    mirror.fetch(&[Wanted::Branches]).await.unwrap();
    let main = Wanted::Head {
        branch: branch("main"),
        commit: mirror.resolve(&branch("main")).await.unwrap(),
    };

    // The source may vanish: what is here needs no fetch.
    std::fs::rename(&source.path, source.path.with_extension("away")).unwrap();
    mirror.fetch(&[Wanted::Commit(head.clone()), other, main]).await.unwrap();
    let error = mirror.fetch(&[Wanted::Branches]).await.unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
}

#[tokio::test]
async fn missing_commits_and_branches_are_named() {
    let source = Repository::new();
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    let absent = commit(&"ab".repeat(20));
    let tree = commit(&source.git(&["rev-parse", "HEAD^{tree}"]));
    for wanted in [&absent, &tree] {
        assert!(!mirror.has(wanted).await.unwrap());
        let error = mirror.fetch(&[Wanted::Commit(wanted.clone())]).await.unwrap_err();
        assert!(matches!(error, Error::MissingCommit { .. }), "{error}");
        assert!(!mirror.has(wanted).await.unwrap());
    }
    let head = source.head();
    for error in [
        mirror.merge_base(&head, &absent).await.unwrap_err(),
        mirror.merge_base(&absent, &head).await.unwrap_err(),
        mirror.read_file(&absent, "README", 10).await.unwrap_err(),
        mirror.changed_paths(&head, &absent).await.unwrap_err(),
        mirror.merge_commit(&head, &absent).await.unwrap_err(),
        mirror.set_branch(&branch("x"), &absent).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::MissingCommit { commit, .. } if *commit == absent),
            "{error}"
        );
    }
    let error = mirror.fetch(&[Wanted::Branch(branch("nope"))]).await.unwrap_err();
    assert!(matches!(error, Error::MissingBranch { .. }), "{error}");
    assert!(matches!(
        mirror.resolve(&branch("nope")).await.unwrap_err(),
        Error::MissingBranch { .. }
    ));
}

#[tokio::test]
async fn branches_follow_the_source_also_when_names_change_places() {
    let source = Repository::new();
    source.git(&["branch", "topic"]);
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    source.git(&["branch", "-D", "topic"]);
    source.git(&["branch", "topic/one"]);
    mirror.fetch(&[Wanted::Branch(branch("topic/one"))]).await.unwrap();
    assert_eq!(mirror.resolve(&branch("topic/one")).await.unwrap(), source.head());
    assert!(mirror.resolve(&branch("topic")).await.is_err());

    source.git(&["checkout", "--quiet", "--orphan", "fresh"]);
    source.git(&["commit", "--quiet", "--message", "rewritten"]);
    source.git(&["branch", "--force", "main", "HEAD"]);
    mirror.fetch(&[Wanted::Branch(branch("main"))]).await.unwrap();
    assert_eq!(mirror.resolve(&branch("main")).await.unwrap(), source.head());
}

#[tokio::test]
async fn files_are_read_within_bounds_and_links_are_not_followed() {
    let source = Repository::new();
    std::os::unix::fs::symlink("/etc/passwd", source.path.join("link")).unwrap();
    let spaced = "dir/-x 'q\" \u{202e}*.txt";
    let head = source.commit(spaced, "twelve bytes");
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();

    assert_eq!(mirror.read_file(&head, spaced, 12).await.unwrap(), b"twelve bytes");
    let error = mirror.read_file(&head, spaced, 11).await.unwrap_err();
    assert!(matches!(error, Error::FileTooLarge { bytes: 12, limit: 11, .. }), "{error}");
    for (path, found) in [("link", "symbolic link"), ("dir", "folder")] {
        let error = mirror.read_file(&head, path, 99).await.unwrap_err();
        assert!(
            matches!(error, Error::NotAFile { found: is, .. } if is == found),
            "{path}: {error}"
        );
    }
    for path in
        ["nothing", "", "/README", "dir/../README", "dir/", "*", ":README", "--help", "a\0b"]
    {
        let error = mirror.read_file(&head, path, 99).await.unwrap_err();
        assert!(matches!(error, Error::MissingPath { .. }), "{path:?}: {error}");
    }
}

#[tokio::test]
async fn repositories_with_sha256_work_alike() {
    let source = Repository::empty();
    std::fs::remove_dir_all(source.path.join(".git")).unwrap();
    source.git(&["init", "--quiet", "--object-format=sha256", "--initial-branch=main"]);
    let base = source.commit("a", "1\n");
    source.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = source.commit("b", "1\n");
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    assert_eq!(mirror.merge_commit(&base, &head).await.unwrap().as_str().len(), 64);
}
