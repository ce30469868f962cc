//! A world of its own for a test: a repository, a home, a folder for state, and the binary.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// What the tests of this binary stand in.
pub struct World {
    root: TempDir,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// A world with an empty repository.
    pub fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        for folder in ["repository", "home", "state"] {
            std::fs::create_dir(world.root.path().join(folder)).unwrap();
        }
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    /// A world whose repository has one commit with these files.
    pub fn with_files(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        for (path, text) in files {
            world.write(path, text);
        }
        world.commit("start");
        world
    }

    pub fn repository(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repository().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything; the id of the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.com"])
            .args(arguments)
            .current_dir(self.repository())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The binary, to be run in the repository with the state of this world.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
        command
            .args(arguments)
            .current_dir(self.repository())
            .env("XDG_STATE_HOME", self.state())
            .env_remove("NO_COLOR");
        command
    }

    /// Runs the binary to its end.
    pub fn sandgate(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap())
    }

    /// Runs the gates; how it ended, and the document that it printed.
    pub fn run(&self, arguments: &[&str]) -> (Ended, Value) {
        let all: Vec<&str> = ["run", "--output", "json"].iter().chain(arguments).copied().collect();
        let ended = self.sandgate(&all);
        let document = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", ended.stdout, ended.stderr));
        (ended, document)
    }

    /// Runs one command in the debug snapshot of a gate; what it printed.
    pub fn debug(&self, gate: &str, command: &[&str]) -> Ended {
        let all: Vec<&str> = ["debug", gate, "--"].iter().chain(command).copied().collect();
        self.sandgate(&all)
    }

    /// The entries of a folder below the state.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.state().join("sandgate").join(folder);
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The gate of that name in the document of a run.
pub fn gate<'a>(run: &'a Value, name: &str) -> &'a Value {
    let gates = run["gates"].as_array().unwrap();
    gates
        .iter()
        .find(|gate| gate["name"] == name)
        .unwrap_or_else(|| panic!("no gate {name}: {run}"))
}
