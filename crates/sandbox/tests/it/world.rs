//! A small root of the host's tools, and an engine over it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sandgate_domain::{IsolationLevel, Resources};
use sandgate_sandbox::{
    Bind, Command, Engine, EngineConfig, ExitStatus, Network, PlainFolder, Process, Sandbox, Spec,
};
use tokio::io::AsyncReadExt;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// An engine with a folder for layers.
pub struct World {
    pub engine: Engine,
    pub folder: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let plain = folder.path().join("plain");
        fs::create_dir(&plain).unwrap();
        let config =
            EngineConfig { plain: Some(PlainFolder::new(plain)), ..EngineConfig::new(state) };
        let engine = Engine::probe(config).await.unwrap();
        Self { engine, folder }
    }

    /// A world at the best level that can be had here.
    pub async fn at_any_level() -> Self {
        let world = Self::new().await;
        assert!(world.engine.report().usable(), "{:?}", world.engine.report());
        world
    }

    /// A world if namespaces can be had here, else nothing and the reason on the test's output.
    pub async fn usable() -> Option<Self> {
        let world = Self::new().await;
        if world.engine.report().isolates() {
            return Some(world);
        }
        sandgate_testkit::skip("sandboxes", &format!("{:?}", world.engine.report()));
        None
    }

    /// A world where namespaces can't be had; none where they can, as the tests of the process level run there again.
    pub async fn plain() -> Option<Self> {
        let world = Self::at_any_level().await;
        if world.is_plain() {
            return Some(world);
        }
        println!("here are namespaces; `process_level` runs this where there are none");
        None
    }

    pub fn is_plain(&self) -> bool {
        self.engine.report().level == IsolationLevel::Process
    }

    /// A new directory with the owner that layers have.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        self.own(&path);
        path
    }

    pub fn own(&self, path: &Path) {
        if let Some((user, group)) = self.engine.layer_owner() {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// A layer with what a root needs beside `/usr`.
    pub fn skeleton(&self) -> PathBuf {
        let root = self.directory("skeleton");
        for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
            let link = root.join(name);
            if Path::new("/").join(name).is_symlink() && !link.is_symlink() {
                std::os::unix::fs::symlink(format!("usr/{name}"), link).unwrap();
            }
        }
        self.directory("skeleton/etc");
        self.directory("skeleton/home");
        self.directory("skeleton/home/gate");
        for (name, text) in [
            ("passwd", "root:x:0:0::/root:/bin/sh\ngate:x:1000:1000::/home/gate:/bin/sh\n"),
            ("group", "root:x:0:\ngate:x:1000:\n"),
            ("hosts", "127.0.0.1 localhost\n"),
        ] {
            fs::write(root.join("etc").join(name), text).unwrap();
            self.own(&root.join("etc").join(name));
        }
        root
    }

    pub fn spec(&self) -> Spec {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = format!("box-{number}");
        self.directory(&base);
        let binds = ["/usr", "/bin", "/lib", "/lib64", "/sbin"]
            .into_iter()
            .filter(|path| Path::new(path).is_dir() && !Path::new(path).is_symlink());
        Spec {
            name: format!("it-{}-{number}", std::process::id()),
            lower: vec![self.skeleton()],
            upper: self.directory(&format!("{base}/upper")),
            work: self.directory(&format!("{base}/work")),
            binds: binds.map(|path| Bind::read_only(path, path)).collect(),
            network: Network::None,
            limits: Resources {
                memory_bytes: 256 << 20,
                pids: if self.is_plain() { 512 } else { 64 },
                ..Resources::default()
            },
        }
    }

    pub async fn sandbox(&self) -> Sandbox {
        self.engine.create(self.spec()).await.unwrap()
    }
}

/// What of the layers is at this path, as commands call it.
pub fn inside(sandbox: &Sandbox, path: &str) -> String {
    match sandbox.plain_root() {
        None => path.to_owned(),
        Some(root) => root.join(path.trim_start_matches('/')).display().to_string(),
    }
}

pub fn command<const N: usize>(argv: [&str; N]) -> Command {
    let mut command = Command::new(argv);
    for (name, value) in [("PATH", "/usr/bin:/bin"), ("HOME", "/home/gate")] {
        command.env.push((name.into(), value.into()));
    }
    command
}

pub fn shell(script: &str) -> Command {
    command(["/bin/sh", "-c", script])
}

/// Reads both outputs to their ends and waits.
pub async fn finish(mut process: Process) -> Said {
    let (mut out, mut err) = (process.take_stdout().unwrap(), process.take_stderr().unwrap());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (read_out, read_err) =
        tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
    read_out.unwrap();
    read_err.unwrap();
    Said {
        status: process.wait().await,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a script to its end.
pub async fn run(sandbox: &Sandbox, script: &str) -> Said {
    finish(sandbox.exec(shell(script)).await.unwrap()).await
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}
