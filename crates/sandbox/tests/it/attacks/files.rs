//! Files of the host, of the layers and of the sandbox.

use std::fs;
use std::os::unix::fs::symlink;

use sandgate_sandbox::{Bind, Error};

use crate::world::{World, run};

#[tokio::test]
async fn the_hosts_files_are_not_there() {
    let Some(world) = World::usable().await else { return };
    let canary = world.folder.path().join("canary");
    fs::write(&canary, "secret").unwrap();
    let sandbox = world.sandbox().await;
    for path in ["/etc/shadow", "/root", "/var", canary.to_str().unwrap()] {
        let said = run(&sandbox, &format!("test -e {path} -o -L {path}")).await;
        assert!(!said.status.success(), "{path}");
    }
    assert!(fs::exists("/etc/shadow").unwrap() && fs::exists("/var").unwrap(), "positive control");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn nothing_of_the_host_is_inherited() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    // A descriptor that every child of this process would have.
    let leak = fs::File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let second = world.sandbox().await;
    for sandbox in [&sandbox, &second] {
        let said = run(sandbox, "ls /proc/$$/fd; ls -l /proc/self/cwd").await;
        let fds: Vec<_> = said.stdout.lines().take(3).collect();
        assert_eq!(fds, ["0", "1", "2"], "{said:?}");
        assert!(said.stdout.lines().nth(3).unwrap().ends_with("-> /"), "{said:?}");
        let outside = run(sandbox, "ls -d /proc/self/cwd/../../../../etc/shadow").await;
        assert!(!outside.status.success());
    }
    let host = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
    assert!(host.stdout.len() > "0\n1\n2\n3\n".len(), "positive control: {host:?}");
    sandbox.destroy().await.unwrap();
    second.destroy().await.unwrap();
}

#[tokio::test]
async fn host_tools_cannot_be_changed() {
    let Some(world) = World::usable().await else { return };
    let mut spec = world.spec();
    let shared = world.directory("shared");
    let tool = shared.join("tool");
    fs::write(&tool, "original").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&tool, open).unwrap();
    spec.binds.push(Bind::read_only(&shared, "/opt/shared"));
    let writable = Bind { source: shared.clone(), target: "/opt/writable".into(), writable: true };
    spec.binds.push(writable);
    let sandbox = world.engine.create(spec).await.unwrap();
    for attempt in [
        "echo x > /opt/shared/tool",
        "rm /opt/shared/tool",
        "echo x > /usr/x",
        "mv /opt/shared/tool /opt/shared/t",
        "chmod 600 /opt/shared/tool",
        "ln /opt/shared/tool /home/gate/tool",
    ] {
        assert!(!run(&sandbox, attempt).await.status.success(), "{attempt}");
    }
    assert_eq!(fs::read_to_string(&tool).unwrap(), "original");
    let control = run(&sandbox, "echo x > /opt/writable/tool").await;
    if world.engine.layer_owner().is_none() {
        // A mapped owner: the protection above is the mount, not the permissions.
        assert!(control.status.success(), "positive control: {control:?}");
    }
    let open = run(&sandbox, "echo x >> /opt/writable/tool; cat /opt/writable/tool").await;
    assert!(open.stdout.contains('x'), "positive control: {open:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn layers_below_stay_as_they_are() {
    let Some(world) = World::usable().await else { return };
    let mut spec = world.spec();
    let layer = world.directory("below");
    world.directory("below/folder");
    let file = layer.join("folder/file");
    fs::write(&file, "original").unwrap();
    world.own(&file);
    spec.lower.push(layer.clone());
    let upper = spec.upper.clone();
    let sandbox = world.engine.create(spec).await.unwrap();
    let change = "echo changed > /folder/file && mv /folder/file /folder/moved && rm /folder/moved \
                  && rm -r /folder && mkdir /folder && echo new > /folder/new && cat /folder/new";
    let said = run(&sandbox, change).await;
    assert_eq!(said.stdout, "new\n", "{said:?}");
    sandbox.destroy().await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "original");
    assert_eq!(fs::read_to_string(upper.join("folder/new")).unwrap(), "new\n");
}

/// A layer whose mount points are links is refused, whatever they point to.
#[tokio::test]
async fn links_in_place_of_mount_points_are_refused() {
    let Some(world) = World::usable().await else { return };
    for (name, target) in
        [("proc", "/"), ("dev", "/home"), ("tmp", "home"), ("opt", "/"), ("dev", "../../..")]
    {
        let mut spec = world.spec();
        let layer = world.directory(&format!("{}-layer", spec.name));
        symlink(target, layer.join(name)).unwrap();
        spec.lower.push(layer);
        spec.binds.push(Bind::read_only("/usr/share", "/opt/share"));
        let error = world.engine.create(spec).await.unwrap_err();
        assert!(
            matches!(&error, Error::Setup { step, .. } if step.contains(name)),
            "{name} -> {target}: {error}"
        );
    }
    let mut spec = world.spec();
    spec.binds.push(Bind::read_only("/usr/share", "/opt/share"));
    world.engine.create(spec).await.unwrap().destroy().await.unwrap();
}

#[tokio::test]
async fn overlay_attributes_cannot_be_forged() {
    let Some(world) = World::usable().await else { return };
    let sandbox = world.sandbox().await;
    let script = "import os, sys\n\
        os.mkdir('/home/gate/d')\n\
        for name in ['trusted.overlay.opaque', 'security.capability', 'security.x']:\n\
        \x20   try:\n\
        \x20       os.setxattr('/home/gate/d', name, b'y'); print(name, 'done')\n\
        \x20   except OSError as error: print(name, 'refused')\n\
        os.setxattr('/home/gate/d', 'user.own', b'y'); print('own', 'done')\n";
    let python = crate::world::command(["python3", "-c", script]);
    let process = match sandbox.exec(python).await {
        Ok(process) => process,
        Err(error) => return sandgate_testkit::skip("extended_attributes", &error.to_string()),
    };
    let said = crate::world::finish(process).await;
    assert_eq!(said.stdout.matches("refused").count(), 3, "{said:?}");
    assert!(said.stdout.contains("own done"), "positive control: {said:?}");
    sandbox.destroy().await.unwrap();
}
