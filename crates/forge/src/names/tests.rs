//! Tests of the file one level up.

use std::process::Command;

use proptest::prelude::*;

use super::*;

#[test]
fn repository_names_are_two_plain_parts() {
    for good in ["o/r", "acme/web-app", "Acme/.github", "a1/x_y.z", "user_corp/-dash"] {
        assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
    }
    let long = format!("{}/r", "a".repeat(101));
    for bad in [
        "", "o", "o/", "/r", "o/r/s", "../r", "o/..", "o/.", "-o/r", ".o/r", "o/r.git", "o/R.GIT",
        "o r/x", "o/r\n", "o/r\0", "ö/r", "o/$(x)", "o/r;x", &long,
    ] {
        assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?}");
    }
    let name: RepositoryName = "Acme/Web".parse().unwrap();
    assert_eq!((name.owner(), name.repository(), name.key().as_str()), ("Acme", "Web", "acme/web"));
}

#[test]
fn commit_ids_are_full_and_lower_case() {
    let upper = "ABCDEF0123456789ABCDEF0123456789ABCDEF01";
    assert_eq!(upper.parse::<CommitId>().unwrap().as_str(), upper.to_lowercase());
    assert!("a".repeat(64).parse::<CommitId>().is_ok());
    for bad in ["", "abc", &"a".repeat(39), &"a".repeat(41), &"0".repeat(40), &"g".repeat(40)] {
        assert!(bad.parse::<CommitId>().is_err(), "{bad:?}");
    }
}

#[test]
fn hostile_branch_names_are_refused_or_literal() {
    let long = "a".repeat(4096);
    for bad in [
        "a\nb", "a..b", "../x", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "@", "a@{1}",
        "", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "a\0b", "a\x7f", "HEAD",
        &long,
    ] {
        let error = bad.parse::<BranchName>().expect_err(bad);
        assert!(!error.to_string().contains(['\n', '\0']), "{error}");
        assert!(error.to_string().len() < 400);
    }
    for literal in ["--upload-pack=x", "-h", "$(touch)", "a'b\"c", "ünï", "\u{202e}abc", "a@b"] {
        assert_eq!(literal.parse::<BranchName>().unwrap().as_str(), literal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever we take, git takes.
    #[test]
    fn accepted_branches_are_git_refs(text in "[-a-c./@{}~^:* \\\\lock$']{1,12}") {
        let Ok(branch) = text.parse::<BranchName>() else { return Ok(()) };
        let status = Command::new("git")
            .args(["check-ref-format", &format!("refs/heads/{branch}")])
            .status()
            .unwrap();
        prop_assert!(status.success(), "{branch}");
    }

    #[test]
    fn names_never_panic_and_read_back(text in "\\PC{0,300}") {
        if let Ok(branch) = text.parse::<BranchName>() {
            let json = serde_json::to_string(&branch).unwrap();
            prop_assert_eq!(serde_json::from_str::<BranchName>(&json).unwrap(), branch);
        }
        if let Ok(name) = text.parse::<RepositoryName>() {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        prop_assert!(text.parse::<CommitId>().is_err() || text.len() >= 40);
    }
}
