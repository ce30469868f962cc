//! The layer store on hostile trees.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mkdirat, mknodat, openat};
use sandgate_node::Error;
use sandgate_node::layers::{COMMIT_TIME, LayerStore, SETUP_TIME, SealRule};
use tempfile::TempDir;

use crate::support::{layer_id, modified, sandbox_id};

fn store() -> (TempDir, LayerStore) {
    let folder = TempDir::new().unwrap();
    let store = LayerStore::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Directories deeper than any path may be long, and names of all kinds.
fn hostile_tree(root: &Path, depth: usize) {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
    let mut directory = openat(CWD, root, flags, Mode::empty()).unwrap();
    for level in 0..depth {
        let name = format!("d{level}");
        mkdirat(&directory, name.as_str(), Mode::RWXU).unwrap();
        directory = openat(&directory, name.as_str(), flags, Mode::empty()).unwrap();
    }
    std::fs::write(root.join("-rf"), "x").unwrap();
    std::fs::write(root.join("new\nline"), "x").unwrap();
    std::fs::write(root.join("\u{1b}[31m"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    std::os::unix::fs::symlink("out", root.join("loop")).unwrap();
    std::fs::create_dir_all(root.join("closed/inner")).unwrap();
    std::fs::write(root.join("closed/inner/secret"), "x").unwrap();
    set_mode(&root.join("closed/inner/secret"), 0);
    set_mode(&root.join("closed/inner"), 0);
    set_mode(&root.join("closed"), 0);
}

#[test]
fn a_hostile_tree_is_sealed_verified_and_removed() {
    let (_folder, store) = store();
    let scratch = store.new_scratch(sandbox_id(1)).unwrap();
    hostile_tree(&scratch.upper(), 10_000);
    let layer = store.seal(&scratch, SealRule::Gate, layer_id(1)).unwrap();
    assert!(layer.files > 10_000);
    assert!(store.scratch(sandbox_id(1)).is_none());
    let digest = store.digest(layer.id).unwrap();
    store.verify(layer.id, digest).unwrap();
    store.delete(layer.id).unwrap();
    store.delete(layer.id).unwrap();
    assert_eq!(store.get(layer.id).unwrap(), None);
    assert!(matches!(store.size(layer.id), Err(Error::LayerMissing(_))));
}

#[test]
fn sealing_strips_what_must_not_stay() {
    let (_folder, store) = store();
    let scratch = store.new_scratch(sandbox_id(1)).unwrap();
    let upper = scratch.upper();
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("plain", 0o640), ("closed", 0o000)] {
        std::fs::write(upper.join(name), name).unwrap();
        set_mode(&upper.join(name), mode);
    }
    std::fs::create_dir(upper.join("shared")).unwrap();
    set_mode(&upper.join("shared"), 0o3777);
    let _socket = std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    mknodat(CWD, upper.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let whiteout = mknodat(CWD, upper.join("gone"), FileType::CharacterDevice, Mode::empty(), 0);
    let device = mknodat(
        CWD,
        upper.join("null"),
        FileType::CharacterDevice,
        Mode::RWXU,
        rustix::fs::makedev(1, 3),
    );
    std::fs::create_dir(upper.join("opaque")).unwrap();
    let set = |path: &Path, name: &str| {
        rustix::fs::setxattr(path, name, b"y", XattrFlags::empty()).unwrap();
    };
    set(&upper.join("opaque"), "user.overlay.opaque");
    set(&upper.join("opaque"), "user.overlay.origin");
    set(&upper.join("opaque"), "user.overlay.impure");
    set(&upper.join("plain"), "user.overlay.origin");
    set(&upper.join("plain"), "user.mine");
    set(&upper, "user.overlay.impure");

    let layer = store.seal(&scratch, SealRule::Gate, layer_id(1)).unwrap();
    let again = store.seal(&scratch, SealRule::Gate, layer_id(1)).unwrap();
    assert_eq!(layer, again);
    let stat = |name: &str| layer.path.join(name).symlink_metadata().unwrap();
    assert_eq!(stat("suid").mode() & 0o7777, 0o755);
    assert_eq!(stat("sgid").mode() & 0o7777, 0o755);
    assert_eq!(stat("plain").mode() & 0o7777, 0o640);
    assert_eq!(stat("closed").mode() & 0o7777, 0o400);
    assert_eq!(stat("shared").mode() & 0o7777, 0o1777);
    for name in ["socket", "pipe", "null"] {
        assert!(layer.path.join(name).symlink_metadata().is_err(), "{name}");
    }
    if whiteout.is_ok() {
        assert_eq!(stat("gone").rdev(), 0);
    } else {
        sandgate_testkit::skip("whiteouts", &format!("{whiteout:?}"));
    }
    if device.is_err() {
        sandgate_testkit::skip("devices", &format!("{device:?}"));
    }
    let attributes = |path: &Path| {
        let mut list = vec![0_u8; 1000];
        let length = rustix::fs::listxattr(path, &mut list[..]).unwrap();
        String::from_utf8(list[..length].to_vec()).unwrap()
    };
    assert_eq!(attributes(&layer.path.join("opaque")), "user.overlay.opaque\0");
    assert_eq!(attributes(&layer.path.join("plain")), "user.mine\0");
    assert_eq!(attributes(&layer.path), "");
}

#[test]
fn a_setup_gets_its_time_and_loses_compiled_python_of_the_repository() {
    let (_folder, store) = store();
    let scratch = store.new_scratch(sandbox_id(1)).unwrap();
    let upper = scratch.upper();
    for path in [
        "workspace/target/debug/app",
        "workspace/pkg/__pycache__/m.pyc",
        "workspace/.venv/lib/site-packages/six/__pycache__/six.pyc",
        "home/gate/.cache/__pycache__/m.pyc",
    ] {
        let path = upper.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    std::os::unix::fs::symlink("nowhere", upper.join("workspace/link")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    let aged = std::fs::File::create(upper.join("workspace/old")).unwrap();
    aged.set_modified(old).unwrap();
    let layer = store.seal(&scratch, SealRule::Setup, layer_id(1)).unwrap();
    for path in [
        "workspace",
        "workspace/link",
        "workspace/pkg",
        "workspace/target/debug/app",
        "workspace/.venv/lib/site-packages/six/__pycache__/six.pyc",
        "home/gate/.cache/__pycache__/m.pyc",
    ] {
        assert_eq!(modified(&layer.path.join(path)), SETUP_TIME, "{path}");
    }
    assert_eq!(modified(&layer.path.join("workspace/old")), 86_400);
    assert!(!layer.path.join("workspace/pkg/__pycache__").exists());
    const { assert!(SETUP_TIME < COMMIT_TIME) };
}

#[test]
fn the_digest_sees_every_change_but_time() {
    let (folder, store) = store();
    let change_names = ["content", "mode", "name", "link", "directory", "attribute"];
    let make = |number: u128, change: &str| {
        let scratch = store.new_scratch(sandbox_id(number)).unwrap();
        let upper = scratch.upper();
        std::fs::create_dir_all(upper.join("a/b")).unwrap();
        let file = upper.join(if change == "name" { "a/g" } else { "a/f" });
        std::fs::write(&file, if change == "content" { "y" } else { "x" }).unwrap();
        set_mode(&file, if change == "mode" { 0o755 } else { 0o644 });
        let target = if change == "link" { "g" } else { "f" };
        std::os::unix::fs::symlink(target, upper.join("a/b/l")).unwrap();
        if change == "directory" {
            std::fs::create_dir(upper.join("a/c")).unwrap();
        }
        if change == "attribute" {
            rustix::fs::setxattr(upper.join("a"), "user.overlay.opaque", b"y", XattrFlags::empty())
                .unwrap();
        }
        if change == "time" {
            let time = std::time::UNIX_EPOCH;
            std::fs::File::open(&file).unwrap().set_modified(time).unwrap();
        }
        store.seal(&scratch, SealRule::Gate, layer_id(number)).unwrap();
        store.digest(layer_id(number)).unwrap()
    };
    let plain = make(1, "");
    assert_eq!(plain, make(2, "time"));
    assert_eq!(plain, plain.to_string().parse().unwrap());
    let mut seen = HashSet::from([plain]);
    for (number, change) in change_names.iter().enumerate() {
        assert!(seen.insert(make(10 + number as u128, change)), "{change}");
    }
    let file = folder.path().join("store/layers").join(layer_id(1).to_string()).join("diff/a/f");
    std::fs::write(file, "z").unwrap();
    let error = store.verify(layer_id(1), plain).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn a_sweep_keeps_what_is_known_and_nothing_else() {
    let (folder, store) = store();
    for number in 1..=4 {
        let scratch = store.new_scratch(sandbox_id(number)).unwrap();
        std::fs::write(scratch.upper().join("f"), "x").unwrap();
    }
    let scratch = |number| store.scratch(sandbox_id(number)).unwrap();
    assert!(matches!(store.new_scratch(sandbox_id(1)), Err(Error::ScratchExists(_))));
    let kept = store.seal(&scratch(1), SealRule::Gate, layer_id(1)).unwrap();
    store.seal(&scratch(2), SealRule::Gate, layer_id(2)).unwrap();
    let root = folder.path().join("store");
    // A seal that was cut short after the move: its files are nowhere else.
    let half = root.join("layers").join(format!(".new-{}", layer_id(3)));
    std::fs::create_dir(&half).unwrap();
    std::fs::rename(scratch(3).upper(), half.join("diff")).unwrap();
    std::fs::create_dir(root.join("layers").join(format!(".new-{}", layer_id(9)))).unwrap();
    std::fs::create_dir_all(root.join("layers/.gone-x/work")).unwrap();
    std::fs::create_dir_all(root.join("scratch/.new-x")).unwrap();

    let known = HashSet::from([layer_id(1), layer_id(3)]);
    let live = HashSet::from([sandbox_id(3)]);
    let other = LayerStore::open(&root).unwrap();
    assert!(store.sweep(&known, &live).unwrap().shared);
    assert!(store.get(layer_id(2)).unwrap().is_some());
    drop(other);
    let swept = store.sweep(&known, &live).unwrap();
    assert!(!swept.shared && swept.lost.is_empty());
    assert_eq!(swept.removed, 5);
    assert_eq!(store.get(layer_id(1)).unwrap(), Some(kept));
    assert_eq!(store.get(layer_id(2)).unwrap(), None);
    assert!(store.scratch(sandbox_id(4)).is_none());
    let sealed = store.seal(&scratch(3), SealRule::Gate, layer_id(3)).unwrap();
    assert_eq!(std::fs::read_to_string(sealed.path.join("f")).unwrap(), "x");
}

#[test]
fn a_layer_that_was_not_synced_is_lost_with_the_boot() {
    let (folder, store) = store();
    let build = store.build(layer_id(1)).unwrap();
    std::fs::write(build.path().join("f"), "x").unwrap();
    build.publish(sandgate_node::layers::Durability::UntilReboot).unwrap();
    assert!(store.get(layer_id(1)).unwrap().is_some());
    let record =
        folder.path().join("store/layers").join(layer_id(1).to_string()).join("record.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&record, text.replace(boot.trim(), "another")).unwrap();
    assert_eq!(store.get(layer_id(1)).unwrap(), None);
    let swept = store.sweep(&HashSet::from([layer_id(1)]), &HashSet::new()).unwrap();
    assert_eq!(swept.lost, [layer_id(1)]);
    std::fs::create_dir(folder.path().join("store/layers").join(layer_id(2).to_string())).unwrap();
    assert!(matches!(store.get(layer_id(2)), Err(Error::Corrupt { .. })));
}

#[test]
fn a_layer_that_something_stands_on_outlasts_the_boot() {
    let (folder, store) = store();
    let build = store.build(layer_id(1)).unwrap();
    build.publish(sandgate_node::layers::Durability::UntilReboot).unwrap();
    let record =
        folder.path().join("store/layers").join(layer_id(1).to_string()).join("record.json");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(std::fs::read_to_string(&record).unwrap().contains(boot.trim()));
    for _ in 0..2 {
        store.persist(&[layer_id(1)]).unwrap();
        assert!(!std::fs::read_to_string(&record).unwrap().contains(boot.trim()));
        assert!(store.get(layer_id(1)).unwrap().is_some());
    }
    assert!(matches!(store.persist(&[layer_id(2)]), Err(Error::LayerMissing(_))));
}

#[test]
fn a_build_that_is_dropped_leaves_nothing_and_one_at_a_time_runs() {
    let (folder, store) = store();
    let build = store.build(layer_id(1)).unwrap();
    assert!(matches!(store.build(layer_id(1)), Err(Error::LayerBusy(_))));
    std::fs::write(build.path().join("f"), "x").unwrap();
    drop(build);
    assert_eq!(std::fs::read_dir(folder.path().join("store/layers")).unwrap().count(), 0);
    assert_eq!(folder.path().join("store").metadata().unwrap().mode() & 0o7777, 0o700);
}
