//! Limits hold, and the sandbox says which was broken. Each test first stays below its limit.

use std::time::{Duration, Instant};

use sandgate_domain::ErrorCode;
use sandgate_sandbox::{ExitStatus, Limit, Spec};

use crate::world::{World, command, finish, run, shell};

/// A world, and a specification to lower limits in; nothing if the machine cannot hold the limit.
async fn limited(name: &str) -> Option<(World, Spec)> {
    let world = World::usable().await?;
    let limits = &world.engine.report().limits;
    let finding = limits.iter().find(|finding| finding.name == name).unwrap();
    if !finding.held {
        sandgate_testkit::skip(&format!("limit_{name}"), &finding.reason);
        return None;
    }
    let spec = world.spec();
    Some((world, spec))
}

const HOG: &str = "python3 -c 'x = bytearray(1 << 20) * int(\"$1\")' || head -c ${1}M /dev/zero | tail > /dev/null";

fn hog(mebibytes: u32) -> sandgate_sandbox::Command {
    command([
        "sh",
        "-c",
        &HOG.replace("$1", &mebibytes.to_string()).replace("${1}", &mebibytes.to_string()),
    ])
}

#[tokio::test]
async fn memory() {
    let Some((world, mut spec)) = limited("memory").await else { return };
    spec.limits.memory_bytes = 64 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let small = finish(sandbox.exec(hog(20)).await.unwrap()).await;
    assert!(small.status.success(), "{small:?}");
    assert_eq!(sandbox.broken_limit(), None);
    let large = finish(sandbox.exec(hog(300)).await.unwrap()).await;
    assert!(!large.status.success(), "{large:?}");
    assert_eq!(sandbox.broken_limit(), Some(Limit::Memory));
    let usage = sandbox.destroy().await.unwrap();
    assert!(usage.oom_kills.unwrap() > 0);
    assert!((50 << 20..=64 << 20).contains(&usage.peak_memory_bytes.unwrap()), "{usage:?}");
}

#[tokio::test]
async fn memory_in_tmpfs_counts() {
    let Some((world, mut spec)) = limited("memory").await else { return };
    spec.limits.memory_bytes = 64 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let fill = "head -c 20M /dev/zero > /tmp/a && head -c 25M /dev/zero > /dev/shm/a";
    assert!(run(&sandbox, fill).await.status.success());
    // Each alone is full at half of the memory; both together are more than all.
    let more = run(&sandbox, "head -c 100M /dev/zero > /tmp/b; echo $?").await;
    assert_eq!(more.stdout, "1\n", "{more:?}");
    run(&sandbox, "head -c 100M /dev/zero > /dev/shm/b").await;
    sandbox.destroy().await.unwrap();
}

const FORKS: &str = "for i in $(seq $1); do sleep 30 >&- 2>&- & done; read all < /proc/$$/task/$$/children; set -- $all; echo $#";

#[tokio::test]
async fn pids() {
    let Some((world, mut spec)) = limited("pids").await else { return };
    spec.limits.pids = 40;
    let sandbox = world.engine.create(spec).await.unwrap();
    let few = run(&sandbox, &FORKS.replace("$1", "20")).await;
    assert_eq!(few.stdout, "20\n", "{few:?}");
    assert_eq!(sandbox.broken_limit(), None);
    sandbox.kill_processes().await;
    let many = run(&sandbox, &FORKS.replace("$1", "200")).await;
    assert!(!many.status.success(), "{many:?}");
    if sandbox.usage().pids_limit_hits.is_some() {
        assert_eq!(sandbox.broken_limit(), Some(Limit::Pids));
    }
    sandbox.kill_processes().await;
    assert!(run(&sandbox, "true").await.status.success());
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_ended() {
    let Some((world, mut spec)) = limited("pids").await else { return };
    spec.limits.pids = 50;
    let sandbox = world.engine.create(spec).await.unwrap();
    let bomb =
        sandbox.exec(command(["bash", "-c", "f() { f | f & }; f; sleep 100"])).await.unwrap();
    let mut still = bomb;
    // The host can still start programs.
    assert!(std::process::Command::new("true").status().unwrap().success());
    sandbox.kill_processes().await;
    assert_eq!(still.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(run(&sandbox, "cat /proc/[0-9]*/comm | grep -c bash").await.stdout, "0\n");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn cpu() {
    let Some((world, mut spec)) = limited("cpu").await else { return };
    spec.limits.cpu_millis = 200;
    let sandbox = world.engine.create(spec).await.unwrap();
    let begin = Instant::now();
    let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done & i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; wait";
    run(&sandbox, spin).await;
    let wall = begin.elapsed();
    let used = sandbox.destroy().await.unwrap().cpu.unwrap();
    assert!(used > Duration::from_millis(50), "{used:?}");
    assert!(used < wall.mul_f64(0.3) + Duration::from_millis(60), "{used:?} of {wall:?}");
}

#[tokio::test]
async fn disk_bytes() {
    let Some((world, mut spec)) = limited("disk_bytes").await else { return };
    spec.limits.disk_bytes = 30 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let mine = "cd /home/gate; head -c 10M /dev/zero > a";
    assert!(run(&sandbox, mine).await.status.success());
    assert_eq!(sandbox.broken_limit(), None);
    let many = "cd /home/gate; i=0; while :; do head -c 5M /dev/zero > c$i; i=$((i+1)); done";
    let many = tokio::time::timeout(Duration::from_secs(30), run(&sandbox, many)).await.unwrap();
    assert_eq!(many.status, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(sandbox.broken_limit(), Some(Limit::DiskBytes));
    let after = sandbox.exec(shell("true")).await.unwrap_err();
    assert_eq!(after.code(), ErrorCode::ResourceExhausted);
    assert!(sandbox.destroy().await.unwrap().disk_bytes.unwrap() > 30 << 20);
}

#[tokio::test]
async fn one_file_cannot_pass_the_disk_limit() {
    let Some((world, mut spec)) = limited("disk_bytes").await else { return };
    spec.limits.disk_bytes = 30 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let sparse = "truncate -s 20M /home/gate/a && ! truncate -s 1T /home/gate/b && echo refused";
    assert_eq!(run(&sandbox, sparse).await.stdout, "refused\n");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn deleted_files_that_are_open_count() {
    let Some((world, mut spec)) = limited("disk_bytes").await else { return };
    spec.limits.disk_bytes = 30 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let hide = "cd /home/gate; for i in 3 4 5 6 7; do eval \"exec $i>x; rm x; head -c 20M /dev/zero >&$i\"; done; sleep 1000";
    let hidden = tokio::time::timeout(Duration::from_secs(30), run(&sandbox, hide)).await.unwrap();
    assert_eq!(hidden.status, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(sandbox.broken_limit(), Some(Limit::DiskBytes));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn disk_inodes() {
    let Some((world, mut spec)) = limited("disk_inodes").await else { return };
    spec.limits.disk_inodes = 500;
    let sandbox = world.engine.create(spec).await.unwrap();
    let some = "cd /home/gate; i=0; while [ $i -lt 100 ]; do : > a$i; i=$((i+1)); done";
    assert!(run(&sandbox, some).await.status.success());
    assert_eq!(sandbox.broken_limit(), None);
    let many = "cd /home/gate; i=0; while :; do : > b$i; i=$((i+1)); done";
    let many = tokio::time::timeout(Duration::from_secs(30), run(&sandbox, many)).await.unwrap();
    assert_eq!(many.status, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(sandbox.broken_limit(), Some(Limit::DiskInodes));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn a_closed_directory_hides_nothing_from_the_disk_limit() {
    let Some((world, mut spec)) = limited("disk_bytes").await else { return };
    spec.limits.disk_bytes = 30 << 20;
    let sandbox = world.engine.create(spec).await.unwrap();
    let hide = "cd /home/gate; mkdir d; cd d; i=0; chmod 333 .; \
                while :; do head -c 5M /dev/zero > c$i; i=$((i+1)); done";
    let hidden = tokio::time::timeout(Duration::from_secs(30), run(&sandbox, hide)).await.unwrap();
    assert_eq!(hidden.status, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(sandbox.broken_limit(), Some(Limit::DiskBytes));
    sandbox.destroy().await.unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    for upper in std::fs::read_dir(world.folder.path()).unwrap().flatten() {
        let hidden = upper.path().join("upper/home/gate/d");
        if hidden.exists() {
            std::fs::set_permissions(hidden, std::fs::Permissions::clone(&closed)).unwrap();
        }
    }
}

#[tokio::test]
async fn open_files_and_core_dumps() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    let said = run(&sandbox, "ulimit -c; ulimit -n").await;
    let (core, files) = said.stdout.split_once('\n').unwrap();
    assert_eq!(core, "0");
    assert!(files.trim().parse::<u64>().unwrap() <= 65_536);
    sandbox.destroy().await.unwrap();
}
