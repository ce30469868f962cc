//! A gate that looks for what is not its own finds none of it. Every probe is also run on the host, where it finds what was
//! laid out for it: a probe that could not find anything would prove nothing.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::world::{World, skip};

/// Prints what it found as JSON. It gets a description of what there is to find.
const PROBE: &str = include_str!("hostile/probe.py");

/// What lies about on the host for a gate to find.
struct Bait {
    world: World,
    port: u16,
    abstract_name: String,
    sleeper: Child,
    inherited: std::fs::File,
    _listener: UnixListener,
}

impl Bait {
    fn lay(config: &str) -> Self {
        let world = World::with_files(&[(".sandgate.yaml", config)]);
        let ssh = world.path("home/.ssh");
        std::fs::create_dir(&ssh).unwrap();
        std::fs::write(ssh.join("id_ed25519"), "sandgate-canary-key").unwrap();
        std::fs::write(world.path("home/sandgate-canary.txt"), "sandgate-canary-file").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let answer = "HTTP/1.0 200 OK\r\ncontent-length: 23\r\n\r\nsandgate-canary-service";
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        let abstract_name = format!("sandgate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let inherited = std::fs::File::open(ssh.join("id_ed25519")).unwrap();
        // Without this it would be closed when the binary starts.
        rustix::io::fcntl_setfd(inherited.as_fd(), rustix::io::FdFlags::empty()).unwrap();
        Self {
            port,
            abstract_name,
            sleeper: Command::new("sleep").arg("7654321").stdout(Stdio::null()).spawn().unwrap(),
            inherited,
            _listener: UnixListener::bind_addr(&address).unwrap(),
            world,
        }
    }

    /// What the probe is told.
    fn description(&self) -> String {
        let path = |path: PathBuf| path.display().to_string();
        serde_json::json!({
            "home": path(self.world.path("home")),
            "state": path(self.world.state()),
            "port": self.port,
            "abstract": self.abstract_name,
            "sleeper": "sleep 7654321",
            "writable": path(self.world.path("home")),
        })
        .to_string()
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("HOME", self.world.path("home"))
            .env("SANDGATE_CANARY", "sandgate-canary-variable")
            .env("AWS_SECRET_ACCESS_KEY", "sandgate-canary-aws")
            .env("SSH_AUTH_SOCK", "/tmp/sandgate-canary-agent");
    }

    fn on_the_host(&self) -> Value {
        let mut command = Command::new("python3");
        command.args(["-c", PROBE]).arg(self.description());
        self.environment(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn in_a_gate(&self, gate: &str) -> Value {
        self.world.write("probe.py", PROBE);
        self.world.write("bait.json", &self.description());
        let mut command = self.world.command(["run", "--gate", gate]);
        self.environment(&mut command);
        let ended = self.world.finish(command);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, self.log(gate));
        let log = self.world.sandgate(&["logs", gate, "--stream", "stdout"]).stdout;
        serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"))
    }

    fn log(&self, gate: &str) -> String {
        self.world.sandgate(&["logs", gate]).stdout
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        self.sleeper.kill().unwrap();
        self.sleeper.wait().unwrap();
    }
}

const CONFIG: &str = "version: 1
gates:
  probe: { run: 'python3 -c \"$(cat probe.py)\" \"$(cat bait.json)\"' }
  online: { network: full, run: 'python3 -c \"$(cat probe.py)\" \"$(cat bait.json)\"' }
";

fn has_python(test: &str) -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        skip(test, "python3 is not installed; the probes are written in it");
    }
    found
}

#[test]
fn a_gate_finds_nothing_of_the_host() {
    if !has_python("a_gate_finds_nothing_of_the_host") {
        return;
    }
    let bait = Bait::lay(CONFIG);
    let host = bait.on_the_host();
    let is_root = rustix::process::getuid().is_root();
    for (what, found) in [
        ("home", true),
        ("sshKey", true),
        ("state", true),
        ("database", false),
        ("throughProc", true),
        ("shadow", true),
        ("sleeper", true),
        ("loopback", true),
        ("abstractSocket", true),
        ("variables", true),
        ("inherited", true),
        ("writes", true),
    ] {
        assert_eq!(truth(&host[what]), found, "the probe `{what}` on the host: {host}");
    }
    for privilege in ["unshare", "mount"] {
        assert_eq!(host[privilege] == "done", is_root, "{privilege}: {host}");
    }

    let gate = bait.in_a_gate("probe");
    assert!(bait.world.state().join("sandgate/state.db").is_file());
    let host_after = bait.on_the_host();
    assert!(truth(&host_after["database"]), "{host_after}");
    for what in [
        "home",
        "sshKey",
        "state",
        "database",
        "throughProc",
        "shadow",
        "sleeper",
        "loopback",
        "abstractSocket",
        "variables",
        "inherited",
        "writes",
        "otherHomes",
        "canaryFiles",
    ] {
        assert!(!truth(&gate[what]), "the gate found `{what}`: {gate}");
    }
    assert_eq!(gate["unshare"], "EPERM", "{gate}");
    assert_eq!(gate["mount"], "EPERM", "{gate}");
    assert_eq!(gate["usr"], "EROFS", "{gate}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(gate["status"][set], "0000000000000000", "{gate}");
    }
    assert_ne!(host["status"]["CapBnd"], "0000000000000000", "{host}");
    assert_eq!(gate["status"]["NoNewPrivs"], "1");
    assert_eq!(gate["status"]["Seccomp"], "2");
    let processes = gate["processes"].as_u64().unwrap();
    assert!(processes <= 6, "{gate}");
    assert!(host["processes"].as_u64().unwrap() > processes);
    bait.world.assert_clean();
    drop(bait.inherited.metadata().unwrap());
}

#[test]
fn the_proxy_does_not_lead_to_the_services_of_the_host() {
    if !has_python("the_proxy_does_not_lead_to_the_services_of_the_host") {
        return;
    }
    let bait = Bait::lay(CONFIG);
    assert!(truth(&bait.on_the_host()["loopback"]));
    let gate = bait.in_a_gate("online");
    assert!(!truth(&gate["loopback"]), "{gate}");
    let answers = gate["throughProxy"].as_object().unwrap();
    assert!(answers.len() >= 6, "{gate}");
    for (url, answer) in answers {
        let answer = answer.as_str().unwrap();
        assert!(!answer.contains("canary"), "{url}: {answer}");
        assert!(answer.contains("403"), "{url} was not refused by the proxy: {answer}");
    }
}

/// Whether a probe found something.
fn truth(found: &Value) -> bool {
    match found {
        Value::Bool(found) => *found,
        Value::Array(found) => !found.is_empty(),
        other => panic!("a probe said {other}"),
    }
}
