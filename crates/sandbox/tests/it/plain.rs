//! What the process level alone does: finding everything that was started, refusing what it can't do, saying what it holds.

use std::fs;
use std::time::{Duration, Instant};

use sandgate_domain::{ErrorCode, IsolationLevel};
use sandgate_sandbox::{Engine, EngineConfig, ExitStatus, Network, PlainFolder, end_strays};
use tokio::io::AsyncReadExt;

use crate::world::{World, command, finish, inside, run, shell};

/// A number of seconds to sleep that no other test uses, as a mark.
fn mark(line: u32) -> String {
    format!("{}.{line}", 5000 + std::process::id())
}

fn sleepers(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| *line == [b"sleep\0", mark.as_bytes(), b"\0"].concat()).count()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_consent_there_is_none() {
    let Some(world) = World::plain().await else { return };
    println!("at the process level");
    let state = world.directory("no-consent");
    let engine = Engine::probe(EngineConfig::new(state)).await.unwrap();
    assert_eq!(engine.report().level, IsolationLevel::Namespaces);
    assert!(!engine.report().usable());
    let refused = engine.create(world.spec()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unsupported);
}

#[tokio::test]
async fn it_is_called_what_it_is() {
    let Some(world) = World::plain().await else { return };
    let report = world.engine.report();
    let summary = report.summary();
    assert!(!summary.namespaces && !summary.network);
    assert_eq!(summary.level, IsolationLevel::Process);
    assert!(report.namespaces.iter().any(|found| !found.held && !found.instead.is_empty()));
    for held in ["disk", "output"] {
        assert!(summary.limits.iter().any(|name| name == held), "{summary:?}");
    }
    // A limit is only in the list if it is held by something that counts it.
    let has_groups = report.cgroups != sandgate_sandbox::CgroupFlavour::None;
    assert_eq!(summary.limits.iter().any(|name| name == "memory"), has_groups, "{report:?}");
}

#[tokio::test]
async fn what_needs_namespaces_is_refused() {
    let Some(world) = World::plain().await else { return };
    let mut proxied = world.spec();
    proxied.network = Network::Proxied;
    let refused = world.engine.create(proxied).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unsupported, "{refused}");
    let mut bound = world.spec();
    bound.binds[0].target = "/elsewhere".into();
    let refused = world.engine.create(bound).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unsupported, "{refused}");
    world.sandbox().await.destroy().await.unwrap();
}

#[tokio::test]
async fn a_folder_is_held_by_one_engine_and_the_path_is_always_the_same() {
    let Some(world) = World::plain().await else { return };
    let first = world.sandbox().await;
    let root = inside(&first, "/");
    let other = EngineConfig {
        plain: Some(PlainFolder::new(world.folder.path().join("plain"))),
        ..EngineConfig::new(world.directory("state"))
    };
    let other = Engine::probe(other).await.unwrap();
    let busy = other.create(world.spec()).await.unwrap_err();
    assert_eq!(busy.code(), ErrorCode::Conflict, "{busy}");
    assert!(busy.to_string().contains(&std::process::id().to_string()), "{busy}");
    first.destroy().await.unwrap();
    let second = world.sandbox().await;
    assert_eq!(inside(&second, "/"), root);
    second.destroy().await.unwrap();
    drop(world.engine);
    let third = other.create(small_spec(&world.folder)).await.unwrap();
    third.destroy().await.unwrap();
}

/// A small spec for an engine whose world has given its own away.
fn small_spec(folder: &tempfile::TempDir) -> sandgate_sandbox::Spec {
    let make = |name: &str| {
        let path = folder.path().join("last").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    sandgate_sandbox::Spec {
        name: format!("last-{}", std::process::id()),
        lower: vec![make("lower")],
        upper: make("upper"),
        work: make("work"),
        binds: Vec::new(),
        network: Network::None,
        limits: sandgate_domain::Resources::default(),
    }
}

/// Every way to leave one's parent, one's group and one's session; the environment stays what it was.
#[tokio::test]
async fn whoever_leaves_is_found() {
    let Some(world) = World::plain().await else { return };
    let sandbox = world.sandbox().await;
    let mark = mark(line!());
    let script = format!(
        "(setsid sh -c 'trap \"\" 1 2 15; (sleep {mark} &)' &); nohup sleep {mark} > /dev/null 2>&1 & \
         env -i /bin/sh -c '(/usr/bin/setsid sleep {mark} &)'; echo up; sleep {mark}"
    );
    let mut process = sandbox.exec(shell(&script)).await.unwrap();
    process.take_stdout().unwrap().read_exact(&mut [0; 3]).await.unwrap();
    until("all sleep", || sleepers(&mark) == 4).await;
    sandbox.kill_processes().await;
    assert_eq!(sleepers(&mark), 0);
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn who_forks_all_the_time_is_ended() {
    let Some(world) = World::plain().await else { return };
    let mut spec = world.spec();
    spec.limits.pids = 30;
    let sandbox = world.engine.create(spec).await.unwrap();
    let mark = mark(line!());
    // Each generation leaves its parent at once.
    let script = format!(
        "next() {{ sleep {mark} & (next &) ; exit; }}; echo up; while :; do (next &); sleep 0.01; done"
    );
    let mut process = sandbox.exec(shell(&script)).await.unwrap();
    process.take_stdout().unwrap().read_exact(&mut [0; 3]).await.unwrap();
    until("it grows", || sleepers(&mark) > 5).await;
    tokio::time::timeout(Duration::from_secs(10), sandbox.kill_processes()).await.unwrap();
    assert_eq!(sleepers(&mark), 0);
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn commands_cannot_signal_who_started_them() {
    let Some(world) = World::plain().await else { return };
    let sandbox = world.sandbox().await;
    let own = std::process::id();
    let script = format!(
        "for target in -1 $PPID {own}; do kill -9 -- $target 2> /dev/null && echo hit $target; done; \
         sleep 100 & kill -9 $! && echo control; echo still here"
    );
    let said = run(&sandbox, &script).await;
    assert_eq!(said.stdout, "control\nstill here\n", "{said:?}");
    sandbox.destroy().await.unwrap();
}

/// The reaper can be killed by what is of the same user and not inside. Then its commands are found by their environment.
#[tokio::test]
async fn the_end_of_the_reaper_ends_everything() {
    let Some(world) = World::plain().await else { return };
    let sandbox = world.sandbox().await;
    let mark = mark(line!());
    let script = format!("(setsid sleep {mark} &); echo $PPID; sleep {mark}");
    let mut process = sandbox.exec(shell(&script)).await.unwrap();
    let mut line = [0; 32];
    let count = process.take_stdout().unwrap().read(&mut line).await.unwrap();
    let reaper: i32 = String::from_utf8_lossy(&line[..count]).trim().parse().unwrap();
    until("both sleep", || sleepers(&mark) == 2).await;
    let reaper = rustix::process::Pid::from_raw(reaper).unwrap();
    rustix::process::kill_process(reaper, rustix::process::Signal::KILL).unwrap();
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGKILL));
    sandbox.destroy().await.unwrap();
    assert_eq!(sleepers(&mark), 0);
}

#[tokio::test]
async fn strays_are_those_of_one_sandbox() {
    let Some(world) = World::plain().await else { return };
    let sandbox = world.sandbox().await;
    let mark = mark(line!());
    let process = sandbox.exec(command(["sleep", &mark])).await.unwrap();
    let name = sandbox.name().to_owned();
    assert_eq!(tokio::task::spawn_blocking(|| end_strays("another")).await.unwrap().unwrap(), 0);
    assert_eq!(sleepers(&mark), 1);
    assert_eq!(tokio::task::spawn_blocking(move || end_strays(&name)).await.unwrap().unwrap(), 1);
    assert_eq!(sleepers(&mark), 0);
    drop(process);
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn privileges_are_few_and_cannot_grow() {
    let Some(world) = World::plain().await else { return };
    let sandbox = world.sandbox().await;
    let said =
        run(&sandbox, "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status").await;
    let value = |name: &str| {
        let line = said.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("Seccomp:"), "2");
    let allowed = if crate::world::is_root() { 0b1_1011 } else { 0 };
    let effective = u64::from_str_radix(&value("CapEff:"), 16).unwrap();
    assert_eq!(effective & !allowed, 0, "{said:?}");
    let said = run(&sandbox, "ulimit -c; unshare -U true 2> /dev/null || echo refused").await;
    assert_eq!(said.stdout, "0\nrefused\n", "{said:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_disk_limit_counts_what_is_written_and_not_what_was_there() {
    let Some(world) = World::plain().await else { return };
    let mut spec = world.spec();
    let large = world.directory("large");
    fs::write(large.join("there"), vec![7; 8 << 20]).unwrap();
    spec.lower.push(large);
    spec.limits.disk_bytes = 4 << 20;
    let sandbox = world.engine.create(spec.clone()).await.unwrap();
    let top = inside(&sandbox, "/");
    let write = |megabytes: u32| {
        format!(
            "for i in $(seq {megabytes}); do head -c 1M /dev/urandom > {top}/$i; done; sync; sleep 3"
        )
    };
    let said = run(&sandbox, &write(2)).await;
    assert!(said.status.success(), "{said:?} {:?}", sandbox.usage());
    let said = run(
        &sandbox,
        &format!(
            "cd {top}/tmp; for i in $(seq 40); do head -c 1M /dev/urandom > $i; done; sleep 30"
        ),
    )
    .await;
    assert_eq!(said.status, ExitStatus::Signaled(libc::SIGKILL), "{:?}", sandbox.usage());
    assert_eq!(sandbox.broken_limit(), Some(sandgate_sandbox::Limit::DiskBytes));
    sandbox.destroy().await.unwrap();
    assert!(spec.upper.join("there").is_file() && !spec.upper.join("tmp").exists());
}

/// Files of layers are copies: nothing that a command does to them reaches the layer.
#[tokio::test]
async fn layers_are_not_written_to() {
    let Some(world) = World::plain().await else { return };
    let layer = world.directory("source");
    fs::write(layer.join("file"), "as it was").unwrap();
    fs::hard_link(layer.join("file"), layer.join("twin")).unwrap();
    let mut spec = world.spec();
    spec.lower.push(layer.clone());
    let sandbox = world.engine.create(spec).await.unwrap();
    let top = inside(&sandbox, "/");
    let said = finish(
        sandbox.exec(shell(&format!("cd {top}; echo changed > file; cat twin"))).await.unwrap(),
    )
    .await;
    assert_eq!(said.stdout, "changed\n", "two names of one file stay that: {said:?}");
    sandbox.destroy().await.unwrap();
    assert_eq!(fs::read_to_string(layer.join("file")).unwrap(), "as it was");
}
