//! The sample does what it says, with nothing but a shell.

use std::process::Command;

use super::*;

fn search_path() -> std::ffi::OsString {
    sandgate_chassis::Environment::read().get("PATH").unwrap().to_owned()
}

async fn prepared() -> (tempfile::TempDir, Sample) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("state/sample");
    let sample = prepare(&search_path(), &folder).await.unwrap();
    (root, sample)
}

/// Checks a branch out and runs its scripts one after the other; whether the tests passed, and the report that they wrote.
async fn tested(sample: &Sample, branch: &str) -> (bool, String) {
    let folder = &sample.repository;
    let git = Git::with_path(&search_path(), folder);
    git.read(&["checkout", "--quiet", branch]).await.unwrap();
    let script = |path: &str| {
        let output = Command::new("/bin/sh").arg(path).current_dir(folder).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    for path in ["scripts/setup.sh", "scripts/build.sh", "scripts/lint.sh"] {
        let (success, text) = script(path);
        assert!(success, "{branch}: {path}: {text}");
    }
    let (success, text) = script("tests/run.sh");
    assert!(text.contains(" tests, "), "{branch}: {text}");
    (success, std::fs::read_to_string(folder.join("reports/greeting.xml")).unwrap())
}

#[tokio::test]
async fn each_change_ends_as_it_is_expected_to() {
    let (_root, sample) = prepared().await;
    let (success, report) = tested(&sample, BASE_BRANCH).await;
    assert!(success && report.contains(r#"tests="5" failures="0""#), "{report}");
    assert_eq!(sample.pull_requests.len(), 2);
    for plan in &sample.pull_requests {
        let (success, report) = tested(&sample, plan.branch).await;
        assert_eq!(success, plan.expected == GateResult::Success, "{}: {report}", plan.branch);
    }
    let (_, report) = tested(&sample, "trim-names").await;
    let failing = r#"name="keeps the spaces inside a name" file="tests/greeting.sh" line="7"><failure message="expected"#;
    assert!(report.contains(failing), "{report}");
    assert!(report.contains(r#"tests="6" failures="1""#), "{report}");
}

#[tokio::test]
async fn the_commits_are_the_same_everywhere_and_each_change_is_one() {
    let (_root, sample) = prepared().await;
    let (_other_root, other) = prepared().await;
    assert_eq!(sample.pull_requests, other.pull_requests);
    let git = Git::with_path(&search_path(), &sample.repository);
    for plan in &sample.pull_requests {
        let parent = git.read(&["rev-parse", &format!("{}^", plan.head_sha)]).await.unwrap();
        assert_eq!(parent, plan.base_sha);
    }
    assert_eq!(git.read(&["status", "--porcelain"]).await.unwrap(), "");
    assert_eq!(git.read(&["symbolic-ref", "--short", "HEAD"]).await.unwrap(), BASE_BRANCH);
}

#[tokio::test]
async fn a_second_start_keeps_the_sample_and_refuses_anything_else() {
    let (_root, sample) = prepared().await;
    let marker = sample.repository.join("mine.txt");
    std::fs::write(&marker, "kept").unwrap();
    let again = prepare(&search_path(), &sample.repository).await.unwrap();
    assert_eq!(again, sample);
    assert!(marker.is_file());
    let left_over = sample.repository.with_file_name(".sample.new");
    assert!(!left_over.exists());

    let root = tempfile::tempdir().unwrap();
    let failure = prepare(&search_path(), root.path()).await.unwrap_err();
    assert_eq!(failure.code, "conflict");
    let git = Git::with_path(&search_path(), &sample.repository);
    git.read(&["branch", "-D", "trim-names"]).await.unwrap();
    let failure = prepare(&search_path(), &sample.repository).await.unwrap_err();
    assert_eq!(failure.code, "conflict");
    assert!(marker.is_file());
}
