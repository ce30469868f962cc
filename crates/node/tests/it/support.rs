//! What the tests share: temporary repositories, ids, and a look at trees.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandgate_domain::{LayerId, SandboxId};
use sandgate_node::layers::LayerStore;
use sandgate_node::source::{GitProgram, Repository};
use tempfile::TempDir;
use uuid::Uuid;

pub fn layer_id(number: u128) -> LayerId {
    LayerId::from_uuid(Uuid::from_u128(number))
}

pub fn sandbox_id(number: u128) -> SandboxId {
    SandboxId::from_uuid(Uuid::from_u128(number))
}

pub fn search_path() -> Vec<PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec()
}

pub fn git_program() -> GitProgram {
    GitProgram::find(&search_path()).unwrap()
}

/// The ids that a layer's files get: the gate's where we may give files away.
pub fn owner() -> Option<(u32, u32)> {
    rustix::process::geteuid().is_root().then_some((1000, 1000))
}

/// A repository, a layer store, and room beside them.
pub struct Fixture {
    pub folder: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("repo")).unwrap();
        let fixture = Self { folder };
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture
    }

    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub fn store(&self) -> LayerStore {
        LayerStore::open(&self.folder.path().join("store")).unwrap()
    }

    pub fn open(&self) -> Repository {
        Repository::open(&git_program(), &self.repo()).unwrap()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn git(&self, args: &[&str]) -> String {
        git_in(&self.repo(), args)
    }

    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }
}

/// Plain git, as a user or a gate would run it.
pub fn git_in(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@example.com",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(["-c", "safe.directory=*"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Seconds since 1970 of a file's modification.
pub fn modified(path: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).unwrap().mtime()
}
