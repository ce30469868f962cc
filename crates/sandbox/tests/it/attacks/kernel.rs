//! The kernel's interface: system calls, privileges, sysctls, devices.

use std::collections::BTreeMap;

use sandgate_sandbox::{Bind, ExitStatus, Sandbox};

use super::calls::CALLS;
use crate::world::{Said, World, command, finish, is_root, run};

async fn attacker(world: &World) -> Sandbox {
    let mut spec = world.spec();
    spec.binds.push(Bind::read_only(std::env::current_exe().unwrap(), "/run/attack"));
    world.engine.create(spec).await.unwrap()
}

async fn attack<const N: usize>(sandbox: &Sandbox, names: [&str; N]) -> Said {
    let mut attack = command(["/run/attack", "--attack"]);
    attack.argv.extend(names.map(Into::into));
    finish(sandbox.exec(attack).await.unwrap()).await
}

fn outcomes(text: &str) -> BTreeMap<String, i32> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, outcome)| (name.to_owned(), outcome.parse().unwrap())).collect()
}

#[tokio::test]
async fn dangerous_calls_are_refused() {
    let Some(world) = World::usable().await else { return };
    let sandbox = attacker(&world).await;
    let mut inside = command(["/run/attack", "--attack"]);
    inside.argv.extend(CALLS.iter().map(|call| call.name.into()));
    let inside = finish(sandbox.exec(inside).await.unwrap()).await;
    let inside = outcomes(&inside.stdout);
    for call in CALLS {
        // With one mapped id the inner root does not even exist.
        let unmapped = call.name == "become-root" && !is_root();
        let expected = if unmapped { libc::EINVAL } else { call.inside };
        assert_eq!(inside.get(call.name), Some(&expected), "{}", call.name);
    }
    sandbox.destroy().await.unwrap();
    if !is_root() {
        println!("skipped: the positive controls need root");
        return;
    }
    for call in CALLS {
        let mut host = std::process::Command::new(std::env::current_exe().unwrap());
        let host = host.args(["--attack", call.name]).output().unwrap();
        let host = outcomes(&String::from_utf8(host.stdout).unwrap());
        assert_ne!(host.get(call.name), Some(&call.inside), "positive control: {}", call.name);
    }
}

#[tokio::test]
async fn foreign_calls_kill() {
    let Some(world) = World::usable().await else { return };
    let sandbox = attacker(&world).await;
    let said = attack(&sandbox, ["foreign"]).await;
    assert_eq!(said.status, ExitStatus::Signaled(libc::SIGSYS), "{said:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn own_children_can_be_traced_and_pid_1_cannot() {
    let Some(world) = World::usable().await else { return };
    let sandbox = attacker(&world).await;
    let said = attack(&sandbox, ["trace-child", "trace-init"]).await;
    assert_eq!(said.stdout, "trace-child done\ntrace-init refused\n");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn no_privilege_is_left() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    let status = run(&sandbox, "cat /proc/self/status").await.stdout;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
    assert_eq!(field("Uid"), "1000\t1000\t1000\t1000");
    if is_root() {
        assert_eq!(field("Groups"), "");
    }
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn set_user_id_programs_have_no_effect() {
    let Some(world) = World::usable().await else { return };
    let mut spec = world.spec();
    let layer = world.directory("setuid");
    let program = layer.join("id");
    std::fs::copy("/usr/bin/id", &program).unwrap();
    world.own(&program);
    if is_root() {
        // Owned by the inner root, the best an attacker could have.
        std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o6755);
    std::fs::set_permissions(&program, mode).unwrap();
    spec.lower.push(layer);
    let sandbox = world.engine.create(spec).await.unwrap();
    let said = run(&sandbox, "test -u /id && /id -u && /id -g").await;
    assert_eq!(said.stdout, "1000\n1000\n", "{said:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_kernel_cannot_be_told_anything() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    for file in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/irq/default_smp_affinity",
        "/proc/fs/nfsd",
    ] {
        let said = run(&sandbox, &format!("test -e {file} || exit 9; echo 1 > {file}")).await;
        assert!(!said.status.success(), "{file}: {said:?}");
    }
    let zero = run(&sandbox, "cat /proc/sys/user/max_user_namespaces").await;
    assert_eq!(zero.stdout, "0\n");
    // Writing there means asking the kernel to reboot; here it is the null device.
    for masked in ["kcore", "keys", "timer_list", "sysrq-trigger", "kallsyms", "kmsg"] {
        let said = run(
            &sandbox,
            &format!(
                "test -e /proc/{masked} || exit 0; wc -c < /proc/{masked}; test -c /proc/{masked}"
            ),
        )
        .await;
        assert!(
            said.status.success() && matches!(said.stdout.as_str(), "" | "0\n"),
            "{masked}: {said:?}"
        );
    }
    assert!(!std::fs::read("/proc/sys/user/max_user_namespaces").unwrap().starts_with(b"0"));
    let mine = run(
        &sandbox,
        "echo 1 > /proc/self/oom_score_adj; echo 600 > /proc/self/oom_score_adj && echo ok",
    )
    .await;
    assert_eq!(mine.stdout, "ok\n", "positive control: {mine:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn only_harmless_devices() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    let said = run(&sandbox, "ls /dev; ls /sys /boot 2>&1 | wc -l").await;
    let expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 2";
    assert_eq!(said.stdout.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    let replace = run(&sandbox, "rm /dev/null || mv /dev/ptmx /dev/x || ln -s /etc /dev/y").await;
    assert!(!replace.status.success(), "{replace:?}");
    let works =
        run(&sandbox, "echo x > /dev/null && head -c 5 /dev/zero | wc -c && echo > /dev/shm/x")
            .await;
    assert_eq!(works.stdout, "5\n", "positive control: {works:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn pid_1_cannot_be_killed_or_looked_into() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    for signal in ["KILL", "STOP", "TERM", "SEGV", "INT"] {
        run(&sandbox, &format!("kill -{signal} 1")).await;
    }
    for file in ["environ", "mem", "maps", "exe", "cwd", "root", "fd/3"] {
        let said = run(&sandbox, &format!("cat /proc/1/{file} || ls /proc/1/{file}/")).await;
        assert!(!said.status.success(), "{file}: {said:?}");
    }
    let own =
        run(&sandbox, "cat /proc/self/environ > /dev/null && ls /proc/self/root/ > /dev/null")
            .await;
    assert!(own.status.success(), "positive control: {own:?}");
    sandbox.destroy().await.unwrap();
}
