//! What a pull request needs: merge commits and branches pushed here.

use sandgate_domain::ErrorCode;
use sandgate_forge::Error;
use sandgate_forge::local::{BranchUpdate, Wanted};

use crate::repository::{Repository, branch, commit, mirrors, name, plain_git};

/// `main` changes README's first line, `topic` its last, `clash` its first too.
fn three_branches() -> Repository {
    let source = Repository::new();
    for (called, content) in [("topic", "one\ntwo\n3\n"), ("clash", "eins\ntwo\nthree\n")] {
        source.git(&["checkout", "--quiet", "-b", called, "main"]);
        source.commit("README", content);
    }
    source.git(&["checkout", "--quiet", "main"]);
    source.commit("README", "1\ntwo\nthree\n");
    source
}

#[tokio::test]
async fn a_merge_commit_is_the_same_on_every_machine() {
    let source = three_branches();
    let base = source.head();
    let head = commit(&source.git(&["rev-parse", "topic"]));
    let (_one, one) = mirrors().await;
    let (_other, other) = mirrors().await;
    let here = one.add(&name("o/r"), &source.path).await.unwrap();
    let there = other.add(&name("x/y"), &source.to_bare()).await.unwrap();

    let merged = here.merge_commit(&base, &head).await.unwrap();
    assert_eq!(there.merge_commit(&base, &head).await.unwrap(), merged);
    assert_eq!(here.merge_commit(&base, &head).await.unwrap(), merged);
    assert_eq!(here.read_file(&merged, "README", 99).await.unwrap(), b"1\ntwo\n3\n");
    assert!(here.has(&merged).await.unwrap());

    let raw = plain_git(here.path()).args(["cat-file", "-p", merged.as_str()]).output().unwrap();
    let raw = String::from_utf8(raw.stdout).unwrap();
    assert!(raw.contains(&format!("parent {base}\nparent {head}\n")), "{raw}");
    assert!(raw.contains("committer Sandgate <merge@sandgate.invalid> 1700000000 +0000"), "{raw}");
    let check = plain_git(here.path()).args(["fsck", "--full", "--strict"]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[tokio::test]
async fn conflicts_and_unrelated_histories_are_named() {
    let source = three_branches();
    let base = source.head();
    let clash = commit(&source.git(&["rev-parse", "clash"]));
    source.git(&["checkout", "--quiet", "--orphan", "stranger"]);
    let stranger = source.commit("other", "x\n");
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();

    let error = mirror.merge_commit(&base, &clash).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    assert!(matches!(&error, Error::Conflict { paths, .. } if paths == &["README"]), "{error:?}");
    let error = mirror.merge_commit(&base, &stranger).await.unwrap_err();
    assert!(matches!(error, Error::Unrelated { .. }), "{error}");
    assert_eq!(mirror.merge_base(&base, &stranger).await.unwrap(), None);
}

#[tokio::test]
async fn merge_attributes_of_the_repository_change_nothing() {
    let source = Repository::new();
    source.commit(".gitattributes", "README merge=union\n");
    source.git(&["checkout", "--quiet", "-b", "clash"]);
    let head = source.commit("README", "eins\ntwo\nthree\n");
    source.git(&["checkout", "--quiet", "main"]);
    let base = source.commit("README", "1\ntwo\nthree\n");
    // Positive control: plain git in the source resolves it by the attribute.
    assert!(source.try_git(&["merge-tree", "--write-tree", "main", "clash"]).status.success());
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    let error = mirror.merge_commit(&base, &head).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn branches_are_pushed_from_a_checkout_and_leave_the_source_alone() {
    let source = Repository::new();
    let bare = source.to_bare();
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &bare).await.unwrap();

    source.git(&["checkout", "--quiet", "-b", "work"]);
    let first = source.commit("a", "1\n");
    let topic = branch("topic");
    let opened = mirror.push_branch(&topic, &source.path, None).await.unwrap();
    assert_eq!(opened, BranchUpdate { before: None, after: first.clone() });

    source.git(&["commit", "--quiet", "--amend", "--message", "again"]);
    let second = source.head();
    let work = branch("work");
    let pushed = mirror.push_branch(&topic, &source.path, Some(&work)).await.unwrap();
    assert_eq!(pushed, BranchUpdate { before: Some(first.clone()), after: second.clone() });

    mirror.fetch(&[Wanted::Branches]).await.unwrap();
    assert_eq!(mirror.resolve_head(&topic).await.unwrap(), second);
    assert!(mirror.resolve(&topic).await.is_err());
    let listed = plain_git(&bare).args(["branch", "--list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("topic"));

    let set = mirror.set_branch(&topic, &first).await.unwrap();
    assert_eq!(set.before, Some(second));
    mirror.delete_branch(&topic).await.unwrap();
    assert!(mirror.resolve_head(&topic).await.is_err());
    assert!(mirror.delete_branch(&topic).await.is_err());
}

#[tokio::test]
async fn branches_that_can_not_be_written_are_refused_with_the_reason() {
    let source = Repository::new();
    let head = source.head();
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    mirror.set_branch(&branch("topic"), &head).await.unwrap();
    for refused in [
        mirror.set_branch(&branch("main"), &head).await,
        mirror.push_branch(&branch("main"), &source.path, None).await,
        mirror.set_branch(&branch("topic/below"), &head).await,
        mirror.push_branch(&branch("topic/below"), &source.path, None).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::BranchRefused { .. }), "{error}");
    }
    let empty = Repository::empty();
    let error = mirror.push_branch(&branch("x"), &empty.path, None).await.unwrap_err();
    assert!(matches!(error, Error::EmptyRepository { .. }), "{error}");
    let error = mirror.push_branch(&branch("x"), "/nonexistent".as_ref(), None).await.unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
    let nope = branch("nope");
    let error = mirror.push_branch(&branch("x"), &source.path, Some(&nope)).await.unwrap_err();
    assert!(matches!(error, Error::MissingBranch { .. }), "{error}");
}

#[tokio::test]
async fn many_callers_at_once_agree() {
    let source = three_branches();
    let base = source.head();
    let (_folder, mirrors) = mirrors().await;
    mirrors.add(&name("o/r"), &source.path).await.unwrap();
    source.git(&["checkout", "--quiet", "topic"]);
    let head = source.commit("later", "x\n");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mirror = mirrors.get(&name("O/R")).unwrap();
        let (base, head) = (base.clone(), head.clone());
        tasks.spawn(async move {
            mirror.fetch(&[Wanted::Commit(head.clone())]).await.unwrap();
            mirror.merge_commit(&base, &head).await.unwrap()
        });
    }
    let merged = tasks.join_all().await;
    assert!(merged.windows(2).all(|pair| pair[0] == pair[1]), "{merged:?}");
}
