//! A running `sandgate dev` over the folder of a world, asked with curl as any client would.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sandgate_pr_automation::signature::sign;
use serde_json::{Value, json};

use crate::world::{Ended, Started, World, until, until_within};

/// How the repository is called.
pub const NAME: &str = "acme/web";
/// What the deliveries are signed with.
pub const SECRET: &str = "known to both sides";
/// How long a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server.
pub struct Dev<'a> {
    world: &'a World,
    started: Started,
    /// `127.0.0.1:port`.
    pub address: String,
    /// The link that opens the pages.
    pub link: String,
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// What a delivery says about a pull request.
pub struct Change<'a> {
    pub action: &'a str,
    pub number: u64,
    pub branch: &'a str,
    /// The repository of the head.
    pub from: &'a str,
    /// The second of its last change.
    pub second: u32,
}

impl<'a> Dev<'a> {
    /// Starts it and waits until it answers.
    pub fn start(world: &'a World) -> Self {
        Self::start_with(world, Some(SECRET))
    }

    /// The same, with this secret or none.
    pub fn start_with(world: &'a World, secret: Option<&str>) -> Self {
        Self::start_as(world, command(world, secret))
    }

    /// The same, with this command.
    pub fn start_as(world: &'a World, command: Command) -> Self {
        let started = world.start(command);
        Self::serving(world, started)
            .unwrap_or_else(|started| panic!("it ended: {}", started.stderr()))
    }

    /// A server that was started, once it answers; what was started if it ends before.
    pub fn serving(world: &'a World, started: Started) -> Result<Self, Started> {
        let mut has_ended = false;
        until("the server to serve", || {
            has_ended = started.has_ended();
            has_ended || started.stderr().contains("next     ")
        });
        if has_ended {
            return Err(started);
        }
        let addresses: Value = serde_json::from_str(&started.stdout()).unwrap();
        let address = addresses["http"].as_str().unwrap().to_owned();
        let stderr = started.stderr();
        let link = stderr.lines().find_map(|line| line.strip_prefix("log in   ")).unwrap();
        Ok(Self { world, link: link.to_owned(), started, address })
    }

    /// The process.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.started.wait()
    }

    /// One that serves already, and whose login link is this.
    pub fn around(world: &'a World, started: Started, link: String) -> Self {
        let address = link.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        Self { world, link, started, address }
    }

    pub fn stderr(&self) -> String {
        self.started.stderr()
    }

    pub fn signal(&self, signal: Signal) {
        self.started.signal(signal);
    }

    /// Waits for its end, which must come within this time.
    pub fn end_within(self, patience: Duration) -> Ended {
        self.started.wait_within(patience)
    }

    /// Stops it as Ctrl-C does; it must end well, and leave nothing.
    pub fn stop(self) {
        let world = self.world;
        self.signal(Signal::INT);
        let ended = self.end_within(Duration::from_secs(10));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        world.assert_clean();
    }

    /// Kills it, without a chance to tidy up.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        self.started.wait();
    }

    /// Makes the repository of the world known.
    pub fn add_repository(&self) {
        let folder = self.world.repository();
        let added = self.world.sandgate(&["repo", "add", folder.to_str().unwrap(), "--name", NAME]);
        assert_eq!(added.code, 0, "{}", added.stderr);
    }

    /// Runs curl against a path of it.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(["--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("http://{}{path}", self.address))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        Answer { status: status.parse().unwrap(), body: body.to_owned() }
    }

    /// Asks a route of the REST interface.
    pub fn get(&self, path: &str) -> Answer {
        let token = self.link.rsplit_once("token=").unwrap().1;
        self.curl(path, &["--header", &format!("authorization: Bearer {token}")])
    }

    /// The document of a route that answers.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Delivers a body that is signed with this secret.
    pub fn deliver(&self, id: &str, body: &str, secret: &str) -> Answer {
        let file = self.world.path(&format!("delivery-{id}"));
        std::fs::write(&file, body).unwrap();
        self.curl(
            "/api/webhooks/github",
            &[
                "--header",
                "content-type: application/json",
                "--header",
                &format!("x-github-delivery: {id}"),
                "--header",
                "x-github-event: pull_request",
                "--header",
                &format!("x-hub-signature-256: {}", sign(secret.as_bytes(), body.as_bytes())),
                "--header",
                "expect:",
                "--data-binary",
                &format!("@{}", file.display()),
            ],
        )
    }

    /// Delivers a change of a pull request; it must be queued.
    pub fn announce(&self, id: &str, change: &Change<'_>) {
        let answer = self.deliver(id, &change.payload(self.world), SECRET);
        assert_eq!((answer.status, answer.outcome().as_str()), (202, "queued"), "{}", answer.body);
    }

    /// The pull request with this number, if it is known.
    pub fn pull(&self, number: u64) -> Option<Value> {
        let list = self.json("/api/v1/pull-requests");
        let items = list["items"].as_array().unwrap().clone();
        let id = items.iter().find(|item| item["number"] == number)?["id"].as_str()?.to_owned();
        Some(self.json(&format!("/api/v1/pull-requests/{id}")))
    }

    /// Waits until the check that decides has this conclusion at the head; the pull request then.
    pub fn concluded(&self, number: u64, conclusion: &str) -> Value {
        let mut seen = Value::Null;
        let what = format!("`{conclusion}` of pull request {number}");
        until_within(PATIENCE, &what, || {
            seen = self.pull(number).unwrap_or_default();
            let deciding = check(&seen, "sandgate");
            if let Some(other) = deciding["conclusion"].as_str() {
                let is_wanted = other == conclusion;
                let is_passing = other == "action_required" || other == "cancelled";
                assert!(is_wanted || is_passing, "{other} instead of {conclusion}: {seen:#}");
            }
            deciding["conclusion"] == conclusion && deciding["sha"] == seen["headSha"]
        });
        seen
    }

    /// Waits until the check that decides is complete in whatever way; the pull request then.
    pub fn settled(&self, number: u64) -> Value {
        let mut seen = Value::Null;
        until_within(PATIENCE, &format!("a verdict about pull request {number}"), || {
            seen = self.pull(number).unwrap_or_default();
            check(&seen, "sandgate")["status"] == "completed"
        });
        seen
    }

    /// Waits until this gate of the run of a pull request executes.
    pub fn executing(&self, number: u64, gate: &str) -> Value {
        let mut run = Value::Null;
        until_within(PATIENCE, &format!("{gate} to execute"), || {
            let Some(pull) = self.pull(number) else { return false };
            let Some(id) = pull["run"].as_str() else { return false };
            run = self.json(&format!("/api/v1/runs/{id}"));
            let gates = run["gates"].as_array().unwrap();
            gates.iter().any(|one| one["name"] == gate && one["startedAt"].is_string())
        });
        run
    }
}

impl Answer {
    /// The outcome of a delivery.
    pub fn outcome(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["outcome"].as_str().unwrap_or_default().to_owned()
    }
}

impl Change<'_> {
    /// A member opens number 1 from `topic`.
    pub fn opened() -> Self {
        Self { action: "opened", number: 1, branch: "topic", from: NAME, second: 0 }
    }

    /// As GitHub tells it. The commits are those of the branches of the world.
    pub fn payload(&self, world: &World) -> String {
        let sha = |branch: &str| world.git(&["rev-parse", branch]).trim().to_owned();
        let (hour, minute) = (10 + self.second / 3600, self.second / 60 % 60);
        let at = format!("2026-01-05T{hour}:{minute:02}:{:02}Z", self.second % 60);
        let repository = |name: &str| {
            json!({
                "full_name": name, "name": "web", "default_branch": "main", "fork": name != NAME,
                "owner": { "login": name.split('/').next(), "type": "Organization" },
            })
        };
        let is_own = self.from == NAME;
        let author = json!({ "login": if is_own { "ada" } else { "mallory" }, "type": "User" });
        let is_open = self.action != "closed";
        let document = json!({
            "action": self.action, "number": self.number,
            "pull_request": {
                "number": self.number, "state": if is_open { "open" } else { "closed" },
                "title": "A change", "user": author, "created_at": at, "updated_at": at,
                "draft": false, "merged": false,
                "author_association": if is_own { "MEMBER" } else { "NONE" },
                "head": { "ref": self.branch, "sha": sha(self.branch), "repo": repository(self.from) },
                "base": { "ref": "main", "sha": sha("main"), "repo": repository(NAME) },
            },
            "repository": repository(NAME), "sender": author,
        });
        document.to_string()
    }
}

/// The command of a server over the folder of the world.
pub fn command(world: &World, secret: Option<&str>) -> Command {
    let folder = world.state().join("sandgate");
    let mut command = world.command(["dev", "--listen", "127.0.0.1:0", "--print-address"]);
    command.args(["--grpc-listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
    command.env_remove("GITHUB_WEBHOOK_SECRET");
    if let Some(secret) = secret {
        command.env("GITHUB_WEBHOOK_SECRET", secret);
    }
    command
}

/// A world whose branch `main` has these gates, and whose branch `topic` adds a file.
pub fn world_with(config: &str) -> World {
    let world = World::with_files(&[(".sandgate.yaml", config), ("file.txt", "text\n")]);
    branch(&world, "topic", &[("added.txt", "added\n")]);
    world
}

/// Makes a branch of `main` with these files, and goes back.
pub fn branch(world: &World, name: &str, files: &[(&str, &str)]) {
    world.git(&["switch", "--quiet", "--create", name, "main"]);
    for (path, text) in files {
        world.write(path, text);
    }
    world.commit(name);
    world.git(&["switch", "--quiet", "main"]);
}

/// The check of that name.
pub fn check(pull: &Value, name: &str) -> Value {
    let checks = pull["checks"].as_array();
    let found = checks.and_then(|checks| {
        checks.iter().find(|check| check["name"] == name && check["sha"] == pull["headSha"])
    });
    found.cloned().unwrap_or_default()
}

/// Everything that is said about a pull request, for a look at its words.
pub fn words(pull: &Value) -> String {
    let mut words = pull["comment"].as_str().unwrap_or_default().to_owned();
    for check in pull["checks"].as_array().into_iter().flatten() {
        let _infallible = write!(words, "\n{} {}", check["title"], check["summary"]);
    }
    words
}
