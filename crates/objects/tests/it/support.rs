//! A repository in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandgate_objects::{Objects, Readers};
use tempfile::TempDir;

pub const FORMATS: [&str; 2] = ["sha1", "sha256"];

pub struct Fixture {
    pub folder: TempDir,
}

impl Fixture {
    pub fn new(format: &str) -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        let format = format!("--object-format={format}");
        fixture.git(&["init", "--quiet", "--initial-branch=main", &format]);
        fixture
    }

    pub fn git_dir(&self) -> PathBuf {
        self.folder.path().join(".git")
    }

    pub fn try_git(&self, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file and commits it.
    pub fn commit(&self, path: &str, text: &str) -> String {
        let file = self.folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", path]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn objects(&self) -> Objects {
        readers(&program()).open(&self.git_dir()).unwrap()
    }
}

/// Where git lies.
pub fn program() -> PathBuf {
    let found = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

pub fn readers(program: &Path) -> Readers {
    Readers::new(program.to_owned(), "/usr/local/bin:/usr/bin:/bin".into())
}
