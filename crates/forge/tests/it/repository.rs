//! A source repository made with plain git, as a user would have it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandgate_forge::local::{Git, Mirrors};
use sandgate_forge::{BranchName, CommitId, RepositoryName};
use tempfile::TempDir;

pub struct Repository {
    _folder: TempDir,
    pub path: PathBuf,
}

impl Repository {
    /// A repository with a checkout, without a commit.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("source");
        std::fs::create_dir(&path).unwrap();
        let repository = Self { _folder: folder, path };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// One commit on `main` with a readme.
    pub fn new() -> Self {
        let repository = Self::empty();
        repository.commit("README", "one\ntwo\nthree\n");
        repository
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn try_git(&self, arguments: &[&str]) -> Output {
        plain_git(&self.path).args(arguments).output().unwrap()
    }

    /// Writes a file, commits it, and gives the commit.
    pub fn commit(&self, file: &str, content: &str) -> CommitId {
        let path = self.path.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", file]);
        self.head()
    }

    pub fn head(&self) -> CommitId {
        commit(&self.git(&["rev-parse", "HEAD"]))
    }

    /// A bare clone beside it.
    pub fn to_bare(&self) -> PathBuf {
        let bare = self.path.with_file_name("bare.git");
        let bare_text = bare.to_str().unwrap();
        self.git(&["clone", "--quiet", "--bare", ".", bare_text]);
        bare
    }
}

/// Git with a user's identity and dates that don't move, and no configuration of this machine.
pub fn plain_git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_AUTHOR_DATE", "@1700000000 +0100")
        .env("GIT_COMMITTER_NAME", "A")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_DATE", "@1700000000 +0100");
    command
}

pub async fn git() -> Git {
    Git::find(OsStr::new("/usr/local/bin:/usr/bin:/bin")).await.unwrap()
}

pub async fn mirrors() -> (TempDir, Mirrors) {
    let folder = tempfile::tempdir().unwrap();
    let mirrors = Mirrors::open(&folder.path().join("mirrors"), git().await).unwrap();
    (folder, mirrors)
}

pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub fn branch(text: &str) -> BranchName {
    text.parse().unwrap()
}

pub fn commit(text: &str) -> CommitId {
    text.parse().unwrap()
}
