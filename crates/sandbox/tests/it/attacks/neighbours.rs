//! Other processes, networks and sandboxes.

use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::world::{World, command, finish, run};

#[tokio::test]
async fn only_own_processes_are_seen() {
    let Some(world) = World::usable().await else { return };
    let (first, second) = (world.sandbox().await, world.sandbox().await);
    let sleeper = first.exec(command(["sleep", "1000"])).await.unwrap();
    let said = run(&second, "cat /proc/[0-9]*/comm").await;
    assert!(said.stdout.starts_with("sandgate-init\nsh\n"), "{said:?}");
    assert!(said.stdout.lines().all(|name| ["sandgate-init", "sh", "cat"].contains(&name)));
    let control = run(&first, "cat /proc/[0-9]*/comm").await;
    assert!(control.stdout.contains("sleep"), "positive control");
    let host = std::process::id();
    assert!(!run(&second, &format!("kill -0 {host}")).await.status.success());
    drop(sleeper);
    first.destroy().await.unwrap();
    second.destroy().await.unwrap();
}

#[tokio::test]
async fn no_network_but_its_own_loopback() {
    let Some(world) = World::usable().await else { return };
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "positive control");
    let sandbox = world.sandbox().await;
    let interfaces = run(&sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1").await;
    assert_eq!(interfaces.stdout.trim(), "lo");
    for address in
        [&format!("127.0.0.1/{port}"), "169.254.169.254/80", "1.1.1.1/53", "127.0.0.1/3128"]
    {
        let script = format!("exec 3<>/dev/tcp/{address}");
        let said = finish(sandbox.exec(command(["bash", "-c", &script])).await.unwrap()).await;
        assert!(!said.status.success(), "{address}");
    }
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_not_there() {
    let Some(world) = World::usable().await else { return };
    let name = format!("sandgate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _host = UnixListener::bind_addr(&address).unwrap();
    assert!(UnixStream::connect_addr(&address).is_ok(), "positive control");
    let sandbox = world.sandbox().await;
    let said = run(&sandbox, "cat /proc/net/unix").await;
    assert!(!said.stdout.contains(&name), "{said:?}");
    assert!(std::fs::read_to_string("/proc/net/unix").unwrap().contains(&name), "positive control");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let Some(world) = World::usable().await else { return };
    let (first, second) = (world.sandbox().await, world.sandbox().await);
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let script = format!("readlink /proc/self/ns/{name}");
        let inside = run(&first, &script).await.stdout;
        let other = run(&second, &script).await.stdout;
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(inside.starts_with(name), "{inside}");
        assert_ne!(inside, other, "{name}");
        assert_ne!(inside.trim(), host.to_string_lossy(), "{name}");
        assert_eq!(inside, run(&first, &script).await.stdout, "{name} is shared by commands");
    }
    first.destroy().await.unwrap();
    second.destroy().await.unwrap();
}
