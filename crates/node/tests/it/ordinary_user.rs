//! Everything once more as a user without any privilege.

use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;

#[test]
fn all_of_it_works_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: these tests run as an ordinary user already");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let started = Command::new(&program)
        .args(["--skip", "ordinary_user"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    let output = match started {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let reason = format!("nobody may not run {}: {error}", program.display());
            sandgate_testkit::skip("node_as_an_ordinary_user", &reason);
            return;
        }
        started => started.unwrap(),
    };
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
