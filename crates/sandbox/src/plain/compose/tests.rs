//! Layers over layers: what an overlay would show.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, XattrFlags};

use super::*;

struct Layers {
    folder: tempfile::TempDir,
    lower: Vec<PathBuf>,
}

impl Layers {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), lower: Vec::new() }
    }

    /// A layer with files of these contents; a path that ends in `/` is a directory.
    fn add(&mut self, entries: &[(&str, &str)]) -> PathBuf {
        let layer = self.folder.path().join(self.lower.len().to_string());
        fs::create_dir(&layer).unwrap();
        for (path, text) in entries {
            let file = layer.join(path);
            if path.ends_with('/') {
                fs::create_dir_all(&file).unwrap();
            } else {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, text).unwrap();
            }
        }
        self.lower.push(layer.clone());
        layer
    }

    fn compose(&self) -> PathBuf {
        let target = self.folder.path().join("target");
        fs::create_dir(&target).unwrap();
        compose(&self.lower, &target).unwrap();
        target
    }
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn upper_layers_win_and_directories_merge() {
    let mut layers = Layers::new();
    layers.add(&[
        ("a", "low"),
        ("folder/low", "1"),
        ("turns/into-file/x", ""),
        ("link-here/x", ""),
    ]);
    let upper = layers.add(&[("a", "high"), ("folder/high", "2"), ("turns/into-file", "file")]);
    symlink("/etc/passwd", upper.join("link-here")).unwrap();
    let top = layers.add(&[("turns/into-file/y", "folder again")]);
    fs::set_permissions(top.join("turns"), fs::Permissions::from_mode(0o750)).unwrap();
    let target = layers.compose();
    assert_eq!(text(target.join("a")), "high");
    assert_eq!(text(target.join("folder/low")), "1");
    assert_eq!(text(target.join("folder/high")), "2");
    assert_eq!(text(target.join("turns/into-file/y")), "folder again");
    assert!(!target.join("turns/into-file/x").exists());
    assert_eq!(fs::read_link(target.join("link-here")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(target.join("turns").metadata().unwrap().mode() & 0o777, 0o750);
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let mut layers = Layers::new();
    layers.add(&[
        ("gone", "x"),
        ("gone-folder/deep/file", "x"),
        ("marked", "x"),
        ("opaque/hidden", "x"),
        ("stays", "x"),
    ]);
    let upper = layers.add(&[("opaque/shown", "y"), ("marked", "")]);
    for name in ["gone", "gone-folder", "never-was"] {
        let made =
            rustix::fs::mknodat(CWD, upper.join(name), FileType::CharacterDevice, Mode::empty(), 0);
        if let Err(errno) = made {
            sandgate_testkit::skip("whiteouts", &format!("they can't be made here: {errno}"));
            return;
        }
    }
    let mark = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(upper.join(path), name, value, XattrFlags::empty())
    };
    if let Err(errno) = mark("opaque", "user.overlay.opaque", b"y") {
        sandgate_testkit::skip("opaque_directories", &format!("no attributes here: {errno}"));
        return;
    }
    mark("marked", "user.overlay.whiteout", b"y").unwrap();
    let target = layers.compose();
    let mut names: Vec<_> =
        fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["opaque", "stays"]);
    assert!(target.join("opaque/shown").exists() && !target.join("opaque/hidden").exists());
}

#[test]
fn times_modes_holes_and_links_are_kept() {
    let mut layers = Layers::new();
    let layer = layers.add(&[("script", "#!/bin/sh\n"), ("folder/inner", "")]);
    fs::set_permissions(layer.join("script"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(layer.join("script"), layer.join("folder/twin")).unwrap();
    let sparse = fs::File::create(layer.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", (1 << 30) - 3).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    for name in ["script", "folder"] {
        fs::File::open(layer.join(name)).unwrap().set_modified(old).unwrap();
    }
    let target = layers.compose();
    let (script, twin) =
        (target.join("script").metadata().unwrap(), target.join("folder/twin").metadata().unwrap());
    assert_eq!(script.mode() & 0o7777, 0o755, "never set-user-id");
    assert_eq!(script.ino(), twin.ino());
    assert_ne!(script.ino(), layer.join("script").metadata().unwrap().ino(), "a copy");
    for name in ["script", "folder"] {
        assert_eq!(target.join(name).metadata().unwrap().modified().unwrap(), old, "{name}");
    }
    let sparse = target.join("sparse").metadata().unwrap();
    assert_eq!(sparse.len(), 1 << 30);
    assert!(sparse.blocks() < 2048, "{} blocks", sparse.blocks());
}

#[test]
fn depth_does_not_matter() {
    let mut layers = Layers::new();
    let layer = layers.add(&[]);
    let mut at = rustix::fs::open(&layer, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..1500 {
        rustix::fs::mkdirat(&at, c"directory", Mode::RWXU).unwrap();
        at = openat(&at, c"directory", DIRECTORY, Mode::empty()).unwrap();
    }
    let target = layers.compose();
    let mut at = rustix::fs::open(&target, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..1500 {
        at = openat(&at, c"directory", DIRECTORY, Mode::empty()).unwrap();
    }
}
