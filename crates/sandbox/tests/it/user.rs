//! All of these tests once more as an ordinary user; those of the process level have a user of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::world::is_root;

const ORDINARY: u32 = 54_321;

#[test]
fn everything_holds_for_an_ordinary_user() {
    if !is_root() {
        println!("skipped: this is the run of an ordinary user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("it");
    // Where it was built an ordinary user may not get to.
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let home = folder.path().join("tmp");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let said = Command::new(&program)
        .args(["--nocapture", "--test-threads", "2", "--skip", "process_level::"])
        .env("TMPDIR", &home)
        // The list lies where an ordinary user may not write.
        .env_remove("SANDGATE_TEST_SKIPS")
        .current_dir(&home)
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&said.stdout));
    println!("{}", String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "as an ordinary user: {}", said.status);
    let left: Vec<_> = fs::read_dir(&home).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
