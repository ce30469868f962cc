//! Everything ends when it should, and nothing stays on the host: the same at both levels.

use std::fs;
use std::process::{Command as HostCommand, Stdio};
use std::time::{Duration, Instant};

use sandgate_sandbox::ExitStatus;
use tokio::io::AsyncReadExt;

use crate::world::{World, command, inside, run, shell};

/// Waits for a condition, at most ten seconds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Processes of the host whose command line contains a text.
fn processes(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(text.len()).any(|part| part == text.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

fn groups_named(name: &str) -> Vec<std::path::PathBuf> {
    fn below(
        directory: &std::path::Path,
        name: &str,
        depth: u32,
        found: &mut Vec<std::path::PathBuf>,
    ) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    found.push(entry.path());
                } else if depth > 0 {
                    below(&entry.path(), name, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    below("/sys/fs/cgroup".as_ref(), name, 6, &mut found);
    found
}

/// A number of seconds to sleep that no other test uses, as a mark.
fn mark(line: u32) -> String {
    format!("{}.{line}", 3000 + std::process::id())
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let world = World::at_any_level().await;
    let spec = world.spec();
    let name = spec.name.clone();
    let sandbox = world.engine.create(spec).await.unwrap();
    let mark = mark(line!());
    let script =
        format!("sleep {mark} & (setsid sh -c 'trap \"\" 1 2 15; sleep {mark}; :' &) ; echo up");
    let process = sandbox.exec(shell(&script)).await.unwrap();
    drop(process);
    until("the daemons run", || processes(&mark).len() >= 3).await;
    if world.engine.report().limits.iter().any(|limit| limit.name == "memory" && limit.held) {
        assert!(!groups_named(&name).is_empty(), "positive control");
    }
    sandbox.destroy().await.unwrap();
    assert_eq!(processes(&mark), Vec::<u32>::new());
    assert_eq!(groups_named(&name), Vec::<std::path::PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*world.folder.path().to_string_lossy()), "{mounts}");
}

#[tokio::test]
async fn dropping_ends_everything() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mark = mark(line!());
    let mut process = sandbox.exec(command(["sleep", &mark])).await.unwrap();
    assert!(!processes(&mark).is_empty(), "positive control");
    drop(sandbox);
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    assert!(processes(&mark).is_empty());
}

#[tokio::test]
async fn killing_spares_the_sandbox() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mark = mark(line!());
    let stubborn = format!(
        "trap '' HUP INT TERM QUIT; (setsid sleep {mark} &); echo up; kill -STOP $$; while :; do :; done"
    );
    let mut process = sandbox.exec(shell(&stubborn)).await.unwrap();
    process.take_stdout().unwrap().read_exact(&mut [0; 3]).await.unwrap();
    process.signal(libc::SIGTERM).await.unwrap();
    let begin = Instant::now();
    sandbox.kill_processes().await;
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(processes(&mark), Vec::<u32>::new());
    assert!(run(&sandbox, "true").await.status.success());
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_deadline_of_a_stubborn_command_can_be_kept() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut process = sandbox.exec(shell("trap '' TERM; while :; do :; done")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), process.wait()).await;
    assert!(early.is_err());
    process.signal(libc::SIGKILL).await.unwrap();
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    sandbox.destroy().await.unwrap();
}

/// Not a test by itself: the host that the next one kills.
#[tokio::test]
#[ignore = "a program of the test below"]
async fn host_to_be_killed() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mark = std::env::args().next_back().unwrap();
    let mut process = sandbox.exec(command(["sleep", &mark])).await.unwrap();
    process.wait().await;
    // Never reached: the host is killed.
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_death_of_the_host_ends_everything() {
    let world = World::at_any_level().await;
    let mark = mark(line!());
    let other = world.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let mut host = HostCommand::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "endings::host_to_be_killed", "--", &mark])
        .env("TMPDIR", &other)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let sleeping = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    until("the sandbox of the other host runs", || processes(&mark).iter().any(sleeping)).await;
    let inits = processes("sandgate-init").len();
    assert!(inits >= if world.is_plain() { 1 } else { 2 }, "launcher and pid 1, or the reaper");
    host.kill().unwrap();
    host.wait().unwrap();
    until("all has ended", || processes(&mark).is_empty()).await;
    if world.is_plain() {
        return;
    }
    // Nobody was left to open what overlay closes.
    let open: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    for folder in fs::read_dir(&other).unwrap().flatten() {
        let work = folder.path().join("box-1/work/work");
        for closed in [work.clone(), work.join("incompat"), work.join("incompat/volatile")] {
            fs::set_permissions(closed, open.clone()).unwrap();
        }
    }
}

#[tokio::test]
async fn unread_output_does_not_fill_the_host() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut process = sandbox.exec(command(["cat", "/dev/zero"])).await.unwrap();
    let mut stdout = process.take_stdout().unwrap();
    let mut buffer = vec![0; 1 << 20];
    stdout.read_exact(&mut buffer).await.unwrap();
    drop(stdout);
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGPIPE));
    sandbox.destroy().await.unwrap();
}

/// Overlay marks a mount that does not wait for the disk and refuses to mount over such a mark.
#[tokio::test]
async fn a_writable_layer_can_be_mounted_again() {
    let world = World::at_any_level().await;
    let spec = world.spec();
    for script in ["echo first > kept && sync", "test \"$(cat kept)\" = first"] {
        let sandbox = world.engine.create(spec.clone()).await.unwrap();
        let home = inside(&sandbox, "/home/gate");
        let said = run(&sandbox, &format!("cd {home} && {script}")).await;
        assert!(said.status.success(), "{said:?}");
        sandbox.destroy().await.unwrap();
        assert_eq!(fs::read_dir(&spec.work).unwrap().count(), 0, "the scratch directory is empty");
    }
}
