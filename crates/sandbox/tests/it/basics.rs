//! Commands, their streams and their ends: the same at both levels.

use std::time::Duration;

use sandgate_domain::ErrorCode;
use sandgate_sandbox::{Error, ExitStatus, Network, Output, PROXY_PORT, Stdin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, command, finish, inside, run, shell};

#[tokio::test]
async fn a_command_runs_and_its_outputs_arrive_apart() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let said = run(&sandbox, "id -u; hostname; echo oops >&2; exit 3").await;
    assert_eq!(said.status, ExitStatus::Exited(3), "{said:?}");
    if world.is_plain() {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(said.stdout, format!("{}\n{host}", own_user()), "nothing hides the machine");
    } else {
        assert_eq!(said.stdout, format!("1000\n{}\n", sandbox.name()));
    }
    assert_eq!(said.stderr, "oops\n");
    sandbox.destroy().await.unwrap();
}

fn own_user() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

#[tokio::test]
async fn a_signal_is_not_a_status() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    assert_eq!(run(&sandbox, "kill -SEGV $$").await.status, ExitStatus::Signaled(libc::SIGSEGV));
    assert_eq!(run(&sandbox, "exit 139").await.status, ExitStatus::Exited(139));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn only_the_given_environment_and_directory() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut env = command(["/usr/bin/env"]);
    env.env = vec![("ONE".into(), "two words".into())];
    let mark = format!("SANDGATE_SANDBOX={}\n", sandbox.name());
    let mark = if world.is_plain() { mark.as_str() } else { "" };
    let said = finish(sandbox.exec(env).await.unwrap()).await;
    assert_eq!(said.stdout, format!("ONE=two words\n{mark}"));
    let mut here = command(["pwd"]);
    let home = inside(&sandbox, "/home/gate");
    here.cwd = home.clone().into();
    assert_eq!(finish(sandbox.exec(here).await.unwrap()).await.stdout, format!("{home}\n"));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let missing = sandbox.exec(command(["/no/such/program"])).await.unwrap_err();
    assert_eq!(missing.code(), ErrorCode::NotFound, "{missing}");
    let missing = sandbox.exec(command(["no-such-program"])).await.unwrap_err();
    assert_eq!(missing.code(), ErrorCode::NotFound, "{missing}");
    let denied = sandbox.exec(command(["/etc/passwd"])).await.unwrap_err();
    assert_eq!(denied.code(), ErrorCode::InvalidArgument, "{denied}");
    let mut nowhere = command(["true"]);
    nowhere.cwd = "/no/such/directory".into();
    let nowhere = sandbox.exec(nowhere).await.unwrap_err();
    assert!(matches!(&nowhere, Error::Exec { step, .. } if step == "change directory"));
    assert!(run(&sandbox, "true").await.status.success());
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn input_comes_through_and_ends() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut cat = command(["cat"]);
    cat.stdin = Stdin::Piped;
    let mut process = sandbox.exec(cat).await.unwrap();
    let mut stdin = process.take_stdin().unwrap();
    let feed = tokio::spawn(async move {
        stdin.write_all(&vec![b'x'; 300_000]).await.unwrap();
    });
    let said = finish(process).await;
    feed.await.unwrap();
    assert_eq!((said.status, said.stdout.len()), (ExitStatus::Exited(0), 300_000));
    assert_eq!(run(&sandbox, "wc -c").await.stdout, "0\n");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn given_descriptors_are_used() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let file = world.folder.path().join("log");
    let log = std::fs::File::create(&file).unwrap();
    let mut both = shell("cat; echo out; echo err >&2");
    both.stdin = Stdin::Inherit(std::fs::File::open("/etc/hostname").unwrap().into());
    both.output = Output::Fds { stdout: log.try_clone().unwrap().into(), stderr: log.into() };
    assert!(sandbox.exec(both).await.unwrap().wait().await.success());
    let host = std::fs::read_to_string("/etc/hostname").unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{host}out\nerr\n"));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_one_and_can_be_resized() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut script =
        shell("tty; test -t 0 -a -t 1 -a -t 2 && stty size; read line; stty size; echo got $line");
    script.output = Output::Pty { rows: 30, cols: 90 };
    let mut process = sandbox.exec(script).await.unwrap();
    let mut terminal = process.take_terminal().unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("30 90") {
        let count = terminal.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let first = if world.is_plain() { "/dev/pts/" } else { "/dev/pts/0" };
    assert!(seen.starts_with(first), "{seen}");
    terminal.resize(40, 100).unwrap();
    terminal.write_all(b"hello\n").await.unwrap();
    terminal.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("40 100") && seen.contains("got hello"), "{seen}");
    assert!(process.wait().await.success());
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn control_c_reaches_the_program_on_a_terminal() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut script = shell("echo ready; exec sleep 1000");
    script.output = Output::Pty { rows: 24, cols: 80 };
    let mut process = sandbox.exec(script).await.unwrap();
    let mut terminal = process.take_terminal().unwrap();
    terminal.read_exact(&mut [0; 6]).await.unwrap();
    terminal.write_all(b"\x03").await.unwrap();
    assert_eq!(process.wait().await, ExitStatus::Signaled(libc::SIGINT));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn commands_share_a_sandbox_at_the_same_time() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let meet = inside(&sandbox, "/tmp/meet");
    let reader = sandbox.exec(shell(&format!("mkfifo {meet}; cat {meet}"))).await.unwrap();
    let writer = shell(&format!("until test -p {meet}; do :; done; echo met > {meet}"));
    let (reader, writer) =
        tokio::join!(finish(reader), async { finish(sandbox.exec(writer).await.unwrap()).await });
    assert_eq!(reader.stdout, "met\n");
    assert!(writer.status.success());
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn signals_reach_the_whole_group() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let process = sandbox.exec(shell("echo up; sleep 1000 | sleep 1000")).await.unwrap();
    process.signal(libc::SIGTERM).await.unwrap();
    let said = finish(process).await;
    assert_eq!(said.status, ExitStatus::Signaled(libc::SIGTERM));
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn large_arguments_pass() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let long = "x".repeat(100_000);
    let said = finish(
        sandbox.exec(command(["sh", "-c", "printf %s \"$1\" | wc -c", "sh", &long])).await.unwrap(),
    )
    .await;
    assert_eq!(said.stdout, "100000\n");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_proxy_listener_hears_only_the_inside() {
    let Some(world) = World::usable().await else { return };
    let mut spec = world.spec();
    spec.network = Network::Proxied;
    let mut sandbox = world.engine.create(spec).await.unwrap();
    let listener = sandbox.take_proxy_listener().unwrap();
    assert!(sandbox.take_proxy_listener().is_none());
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    // Nobody listens there on the host's loopback because of us.
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{PROXY_PORT}; echo hello >&3; head -n 1 <&3");
    let process = sandbox.exec(command(["/bin/bash", "-c", &script])).await.unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 6];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello\n");
        stream.write_all(b"world\n").await.unwrap();
    };
    let (_, said) = tokio::join!(serve, finish(process));
    assert_eq!(said.stdout, "world\n", "{said:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn layers_stack_and_the_writable_one_stays() {
    let world = World::at_any_level().await;
    let mut spec = world.spec();
    for (name, text) in [("low", "low"), ("high", "high")] {
        let layer = world.directory(name);
        std::fs::write(layer.join("which"), text).unwrap();
        world.own(&layer.join("which"));
        std::fs::write(layer.join(format!("only-{name}")), "").unwrap();
        world.own(&layer.join(format!("only-{name}")));
        spec.lower.push(layer);
    }
    let upper = spec.upper.clone();
    let sandbox = world.engine.create(spec).await.unwrap();
    let top = inside(&sandbox, "/");
    let script = format!("cd {top}; cat which; rm only-low; echo new > home/gate/made; ls -A .");
    let said = run(&sandbox, &script).await;
    assert!(said.stdout.starts_with("high"), "{said:?}");
    assert!(said.stdout.contains("only-high"), "{said:?}");
    sandbox.kill_processes().await;
    sandbox.destroy().await.unwrap();
    let made = std::fs::metadata(upper.join("home/gate/made")).unwrap();
    if let Some((user, _)) = world.engine.layer_owner() {
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), user);
    }
    let names: Vec<_> =
        std::fs::read_dir(&upper).unwrap().map(|e| e.unwrap().file_name()).collect();
    if world.is_plain() {
        assert!(names.contains(&"which".into()) && !names.contains(&"only-low".into()));
        assert!(!names.contains(&"tmp".into()), "temporary files are not kept: {names:?}");
    } else {
        assert_eq!(names.len(), 2, "only what the command did is in the layer: {names:?}");
    }
    assert_eq!(std::fs::read_to_string(world.folder.path().join("low/which")).unwrap(), "low");
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let world = World::at_any_level().await;
    let mut spec = world.spec();
    spec.name = "../up".to_owned();
    assert_eq!(world.engine.create(spec).await.unwrap_err().code(), ErrorCode::InvalidArgument);
    let mut spec = world.spec();
    spec.work = "/elsewhere/work".into();
    assert_eq!(world.engine.create(spec).await.unwrap_err().code(), ErrorCode::InvalidArgument);
    let mut spec = world.spec();
    spec.lower.push("/no/such/layer".into());
    let error = world.engine.create(spec).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/layer"), "{error}");
    let sandbox = world.sandbox().await;
    let has_groups = world.engine.report().cgroups != sandgate_sandbox::CgroupFlavour::None;
    if has_groups && !world.is_plain() {
        let mut twin = world.spec();
        twin.name = sandbox.name().to_owned();
        assert_eq!(world.engine.create(twin).await.unwrap_err().code(), ErrorCode::Conflict);
    }
    let nameless = sandbox.exec(command([""])).await.unwrap_err();
    assert_eq!(nameless.code(), ErrorCode::InvalidArgument);
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_sandbox_is_the_end_of_its_commands() {
    let world = World::at_any_level().await;
    let sandbox = world.sandbox().await;
    let mut process = sandbox.exec(command(["sleep", "1000"])).await.unwrap();
    sandbox.destroy().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(5), process.wait()).await.unwrap();
    assert_eq!(end, ExitStatus::Signaled(libc::SIGKILL));
}
