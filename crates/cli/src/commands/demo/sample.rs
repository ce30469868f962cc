//! The sample repository: a small program whose gates need nothing but a POSIX shell, one change that passes them and one
//! that does not.
//!
//! Identity and dates are fixed, so that the same sample has the same commits everywhere.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use sandgate_domain::{ErrorCode, GateResult};

use crate::failure::Failure;
use crate::git::Git;

/// Under which name the sample is known.
pub const NAME: &str = "example/greeting";
/// The branch that pull requests go into.
pub const BASE_BRANCH: &str = "main";

/// A file of the sample: its path and its content.
type File = (&'static str, &'static str);

const BASE: &[File] = &[
    (".gitignore", include_str!("sample/base/gitignore")),
    (".sandgate.yaml", include_str!("sample/base/sandgate.yaml")),
    ("README.md", include_str!("sample/base/README.md")),
    ("scripts/build.sh", include_str!("sample/base/scripts/build.sh")),
    ("scripts/lint.sh", include_str!("sample/base/scripts/lint.sh")),
    ("scripts/setup.sh", include_str!("sample/base/scripts/setup.sh")),
    ("src/greeting.sh", include_str!("sample/base/src/greeting.sh")),
    ("tests/greeting.sh", include_str!("sample/base/tests/greeting.sh")),
    ("tests/run.sh", include_str!("sample/base/tests/run.sh")),
    ("words.txt", include_str!("sample/base/words.txt")),
];

/// A change that is proposed.
struct Change {
    number: u64,
    branch: &'static str,
    title: &'static str,
    author: &'static str,
    date: &'static str,
    files: &'static [File],
    expected: GateResult,
}

const CHANGES: &[Change] = &[
    Change {
        number: 1,
        branch: "loud-greetings",
        title: "Greet loudly on demand",
        author: "ada",
        date: "2026-01-05T10:00:00Z",
        files: &[
            ("src/greeting.sh", include_str!("sample/good/greeting.sh")),
            ("tests/greeting.sh", include_str!("sample/good/tests.sh")),
        ],
        expected: GateResult::Success,
    },
    Change {
        number: 2,
        branch: "trim-names",
        title: "Take spaces around a name away",
        author: "grace",
        date: "2026-01-05T11:00:00Z",
        files: &[
            ("src/greeting.sh", include_str!("sample/bad/greeting.sh")),
            ("tests/greeting.sh", include_str!("sample/bad/tests.sh")),
        ],
        expected: GateResult::Failure,
    },
];

/// The sample as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The checkout, with `main` checked out.
    pub repository: PathBuf,
    /// Under which name it is known.
    pub name: &'static str,
    /// The pull requests to open, in order.
    pub pull_requests: Vec<PullRequestPlan>,
}

/// A pull request to open, and how it is expected to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestPlan {
    /// Its number.
    pub number: u64,
    /// Its branch.
    pub branch: &'static str,
    /// Its title.
    pub title: &'static str,
    /// The login of its author.
    pub author: &'static str,
    /// Where `main` stands.
    pub base_sha: String,
    /// Where its branch stands.
    pub head_sha: String,
    /// The verdict that is expected.
    pub expected: GateResult,
}

/// Writes the sample to `folder`, with `git` from the folders of `search_path`; what is there already is kept if it is the
/// same, and else is a conflict.
pub async fn prepare(search_path: &OsStr, folder: &Path) -> Result<Sample, Failure> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
    if std::fs::symlink_metadata(folder).is_ok() {
        return existing(search_path, folder).await;
    }
    let draft = parent.join(".sample.new");
    match std::fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(unwritable(&draft, &error));
        }
        _ => {}
    }
    write_files(&draft, BASE)?;
    let written = write_history(search_path, &draft).await?;
    std::fs::rename(&draft, folder).map_err(|error| unwritable(folder, &error))?;
    Ok(sample(folder, written))
}

/// Where the branches stand: `main` first, then the changes in order.
type Heads = Vec<String>;

async fn write_history(search_path: &OsStr, folder: &Path) -> Result<Heads, Failure> {
    let git = Git::with_path(search_path, folder);
    git.read(&["init", "--quiet", "--template=", "--initial-branch", BASE_BRANCH]).await?;
    let mut heads =
        vec![commit(&git, "Greet people by name", "ada", "2026-01-05T09:00:00Z").await?];
    for change in CHANGES {
        git.read(&["checkout", "--quiet", "-b", change.branch, BASE_BRANCH]).await?;
        write_files(folder, change.files)?;
        heads.push(commit(&git, change.title, change.author, change.date).await?);
    }
    git.read(&["checkout", "--quiet", BASE_BRANCH]).await?;
    Ok(heads)
}

/// Commits everything; the id of the commit.
async fn commit(git: &Git, message: &str, author: &str, date: &str) -> Result<String, Failure> {
    git.read(&["add", "--all"]).await?;
    let email = format!("{author}@example.com");
    let git = git
        .clone()
        .variable("GIT_AUTHOR_NAME", author)
        .variable("GIT_AUTHOR_EMAIL", email.as_str())
        .variable("GIT_AUTHOR_DATE", date)
        .variable("GIT_COMMITTER_NAME", author)
        .variable("GIT_COMMITTER_EMAIL", email)
        .variable("GIT_COMMITTER_DATE", date);
    git.read(&["commit", "--quiet", "--message", message]).await?;
    git.read(&["rev-parse", "HEAD"]).await
}

/// The sample that an earlier start wrote. Its commits are compared with those that it would have now.
async fn existing(search_path: &OsStr, folder: &Path) -> Result<Sample, Failure> {
    let expected = {
        let fresh = folder.with_file_name(".sample.new");
        let _ended_early = std::fs::remove_dir_all(&fresh);
        write_files(&fresh, BASE)?;
        let heads = write_history(search_path, &fresh).await?;
        std::fs::remove_dir_all(&fresh).map_err(|error| unwritable(&fresh, &error))?;
        heads
    };
    let git = Git::with_path(search_path, folder)
        .variable("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder).to_string_lossy());
    let mut found = Vec::new();
    for branch in std::iter::once(BASE_BRANCH).chain(CHANGES.iter().map(|change| change.branch)) {
        let reference = format!("refs/heads/{branch}");
        found.extend(git.ask(&["rev-parse", "--verify", "--quiet", &reference]).await?);
    }
    if found == expected {
        return Ok(sample(folder, found));
    }
    let message = format!("`{}` is not the sample of this version", folder.display());
    Err(Failure::new(ErrorCode::Conflict, message)
        .help("start with another folder: `sandgate demo --data-dir <DIR>`, or remove this one"))
}

fn sample(folder: &Path, heads: Heads) -> Sample {
    let mut heads = heads.into_iter();
    let base_sha = heads.next().unwrap_or_default();
    let pull_requests = CHANGES
        .iter()
        .zip(heads)
        .map(|(change, head_sha)| PullRequestPlan {
            number: change.number,
            branch: change.branch,
            title: change.title,
            author: change.author,
            base_sha: base_sha.clone(),
            head_sha,
            expected: change.expected,
        })
        .collect();
    Sample { repository: folder.to_path_buf(), name: NAME, pull_requests }
}

fn write_files(folder: &Path, files: &[File]) -> Result<(), Failure> {
    for (path, content) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("the sample can't be written to `{}`: {error}", path.display());
    Failure::new(ErrorCode::Internal, message).help("give another folder with --data-dir")
}

#[cfg(test)]
mod tests;
