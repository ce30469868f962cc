//! Merges made here against those that git makes of the same commits: the same tree, the same commit, or the same refusal.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandgate_forge::local::{Mirror, Wanted};
use sandgate_forge::{CommitId, Error};

use crate::repository::{Repository, commit, mirrors, name, plain_git};

const AUTHOR: &str = "Sandgate";
const ADDRESS: &str = "merge@sandgate.invalid";

/// Numbers that are the same in every run of this test.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Changes the files of a checkout, and commits that.
fn change(source: &Repository, numbers: &mut Numbers) -> CommitId {
    for _ in 0..1 + numbers.below(3) {
        let folder = ["", "a/", "a/b/", "c/", "a-b/"][numbers.below(5) as usize];
        let path = source.path.join(format!("{folder}{}", numbers.below(4)));
        let is_file = path.is_file();
        match numbers.below(8) {
            0 if is_file => std::fs::remove_file(&path).unwrap(),
            1 if is_file => {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            }
            2 if is_file => {
                std::fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink("target", &path).unwrap();
            }
            3 if is_file => {
                std::fs::remove_file(&path).unwrap();
                write(&path.join("inside"), "inside");
            }
            4 => write(&path.with_file_name(format!("new-{}", numbers.below(3))), "new\n"),
            _ if !path.is_dir() => write(&path, &format!("{}\n", numbers.below(50))),
            _ => {}
        }
    }
    source.git(&["add", "--all"]);
    source.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
    source.head()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(path);
    std::fs::write(path, text).unwrap();
}

/// The commit that git makes; none where it finds a conflict.
fn made_by_git(mirror: &Mirror, base: &CommitId, head: &CommitId) -> Option<CommitId> {
    let run = |arguments: &[&str]| {
        let mut git = plain_git(mirror.path());
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), AUTHOR)
                .env(format!("GIT_{who}_EMAIL"), ADDRESS)
                .env(format!("GIT_{who}_DATE"), "@1700000000 +0000");
        }
        let output = git.args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        output.status.success().then_some(text)
    };
    let tree = run(&["merge-tree", "--write-tree", base.as_str(), head.as_str()])?;
    let message = format!("Merge {head} into {base}");
    let (base, head) = (base.as_str(), head.as_str());
    let made = run(&["commit-tree", "-p", base, "-p", head, "-m", &message, &tree]);
    Some(commit(&made.unwrap()))
}

#[tokio::test]
async fn merges_are_those_of_git() {
    let source = Repository::new();
    for folder in ["", "a/", "a/b/", "c/", "a-b/"] {
        for number in 0..4 {
            write(&source.path.join(format!("{folder}{number}")), &format!("{folder}{number}\n"));
        }
    }
    source.git(&["add", "--all"]);
    source.git(&["commit", "--quiet", "--message=start"]);
    let mut numbers = Numbers(7);
    let mut pairs = Vec::new();
    for _ in 0..60 {
        source.git(&["checkout", "--quiet", "-B", "topic", "main"]);
        let start = source.head();
        let mut head = change(&source, &mut numbers);
        for _ in 0..numbers.below(3) {
            head = change(&source, &mut numbers);
        }
        source.git(&["branch", "--force", &format!("keep-{}", pairs.len()), head.as_str()]);
        source.git(&["checkout", "--quiet", "main"]);
        let base = if numbers.below(6) == 0 { start } else { change(&source, &mut numbers) };
        pairs.push((base, head));
    }
    // A criss-cross: two best common ancestors.
    let (one, other) = (source.head(), pairs[0].1.clone());
    source.git(&["checkout", "--quiet", "-B", "cross", one.as_str()]);
    source.try_git(&["merge", "--quiet", "--strategy=ours", "--no-ff", "-m", "x", other.as_str()]);
    let head = source.commit("cross", "x");
    source.git(&["checkout", "--quiet", "-B", "cross-2", other.as_str()]);
    source.try_git(&["merge", "--quiet", "--strategy=ours", "--no-ff", "-m", "y", one.as_str()]);
    let base = source.commit("cross-2", "y");
    pairs.push((base, head));

    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    mirror.fetch(&[Wanted::Branches]).await.unwrap();
    let (mut made, mut refused) = (0, 0);
    for (base, head) in &pairs {
        match (mirror.merge_commit(base, head).await, made_by_git(&mirror, base, head)) {
            (Ok(ours), Some(expected)) => {
                assert_eq!(ours, expected, "{base} {head}");
                made += 1;
            }
            (Err(Error::Conflict { .. }), None) => refused += 1,
            (ours, expected) => panic!("{base} {head}: {ours:?} instead of {expected:?}"),
        }
    }
    assert!(made > 25 && refused > 3, "{made} merges, {refused} conflicts");
    let check = plain_git(mirror.path()).args(["fsck", "--full", "--strict"]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[tokio::test]
async fn a_merge_that_was_lost_is_made_again() {
    let source = Repository::new();
    let base = source.head();
    source.git(&["checkout", "--quiet", "-b", "topic"]);
    let head = source.commit("new", "x\n");
    let (_folder, mirrors) = mirrors().await;
    let mirror = mirrors.add(&name("o/r"), &source.path).await.unwrap();
    let merged = mirror.merge_commit(&base, &head).await.unwrap();
    let (folder, file) = merged.as_str().split_at(2);
    let object = mirror.path().join("objects").join(folder).join(file);
    std::fs::remove_file(&object).unwrap();
    let (_other, again) = (mirrors.clone(), mirrors.get(&name("o/r")).unwrap());
    assert_eq!(again.merge_commit(&base, &head).await.unwrap(), merged);
}
