//! A world of its own for a test: a repository, a home, a folder for state, and the binary.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sandgate_testkit::{Remains, host};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition is awaited.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the tests of this binary stand in.
pub struct World {
    root: TempDir,
    /// The processes of the binary that were started here.
    started: Mutex<Vec<u32>>,
}

/// A binary that runs.
pub struct Started {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
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
        let world = Self { root: tempfile::tempdir().unwrap(), started: Mutex::default() };
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
        self.finish(self.command(arguments))
    }

    /// Runs a prepared command of the binary to its end.
    pub fn finish(&self, command: Command) -> Ended {
        self.start(command).wait()
    }

    /// Starts a prepared command of the binary.
    pub fn start(&self, mut command: Command) -> Started {
        let mut started = self.started.lock().unwrap();
        let file = |name: &str| self.root.path().join(format!("{name}-{}", started.len()));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&stdout).unwrap())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        started.push(child.id());
        Started { child, stdout, stderr }
    }

    /// Every process inside the sandboxes of this world.
    pub fn processes(&self) -> Vec<String> {
        host::processes_inside(self.root.path())
    }

    /// The control groups of the binaries that were started here.
    pub fn control_groups(&self) -> Vec<PathBuf> {
        host::control_groups(self.root.path(), &self.started.lock().unwrap())
    }

    /// What sandboxes left on the host.
    pub fn remains(&self) -> Remains {
        let data = self.state().join("sandgate");
        Remains::find(self.root.path(), &data, &self.started.lock().unwrap())
    }

    /// Nothing of any sandbox is left: processes, control groups, mounts, files.
    pub fn assert_clean(&self) {
        let mut left = Remains::default();
        let is_clean = is_soon(PATIENCE, || {
            left = self.remains();
            left.is_empty()
        });
        assert!(is_clean, "left of sandboxes:\n{left}");
    }

    /// A file of this world, outside of the repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
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

    /// Asks the database, behind the back of the binary; rows of texts.
    pub fn sql(&self, query: &str) -> Vec<Vec<String>> {
        ask(&self.state().join("sandgate/state.db"), &[query]).remove(0)
    }

    /// Asks a copy of the database as a killed process left it, so that nobody tidies it up before the next start; the rows
    /// of each question.
    pub fn ask_a_copy(&self, queries: &[&str]) -> Vec<Vec<Vec<String>>> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal"] {
            let file = self.state().join("sandgate").join(name);
            if file.exists() {
                std::fs::copy(file, folder.path().join(name)).unwrap();
            }
        }
        ask(&folder.path().join("state.db"), queries)
    }

    /// Keeps the files of this world for a look at them; where they are.
    pub fn keep(&mut self) -> &Path {
        self.root.disable_cleanup(true);
        self.root.path()
    }

    /// The entries of a folder below the state.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.state().join("sandgate").join(folder);
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
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

impl Started {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        Self::is_ended(self.child.id())
    }

    /// Whether the process with this id has ended.
    pub fn is_ended(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits for its end, which must come within this time.
    pub fn wait_within(mut self, patience: Duration) -> Ended {
        let end = Instant::now() + patience;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                self.signal(rustix::process::Signal::KILL);
                panic!("it did not end: {}", self.stderr());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Ended {
            code: status.code().unwrap_or(-1),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

/// Asks a database; the rows of each question, as texts.
fn ask(database: &Path, queries: &[&str]) -> Vec<Vec<Vec<String>>> {
    let program = "import json, sqlite3, sys\n\
                   base = sqlite3.connect(sys.argv[1], timeout=10)\n\
                   ask = lambda query: [[str(field) for field in row] for row in base.execute(query)]\n\
                   answers = [ask(query) for query in sys.argv[2:]]\n\
                   base.commit()\n\
                   print(json.dumps(answers))";
    let output =
        Command::new("python3").args(["-c", program]).arg(database).args(queries).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits for a condition.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// Waits for a condition for as long as this.
pub fn until_within(patience: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(is_soon(patience, condition), "waited too long for {what}");
}

/// Whether a condition comes true within this time.
pub fn is_soon(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Says that a test could not do its work on this machine, so that the suite names it.
pub fn skip(test: &str, reason: &str) {
    println!("skipped: {reason}");
    let environment = sandgate_chassis::Environment::read();
    let folder = environment.texts().find(|(name, _)| *name == "SANDGATE_TEST_SKIPS");
    if let Some((_, folder)) = folder {
        std::fs::write(PathBuf::from(folder).join(test), reason).unwrap();
    }
}
