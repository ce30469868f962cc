//! What is promised at both levels, and at the process level alone, once more where no namespace can be had: under a system
//! call filter like the one that containers have by default. As root and as an ordinary user.

#![expect(unsafe_code, reason = "the filter is a system call between fork and exec")]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::sock_filter;

use crate::world::is_root;

/// Nobody else's: where no cgroup counts processes, all of one user count together.
const ORDINARY: u32 = 54_322;
/// The modules whose tests hold at the process level.
const HELD: [&str; 3] = ["basics::", "endings::", "plain::"];

fn step(code: u32, value: u32, on_true: u8, on_false: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: on_true, jf: on_false, k: value }
}

/// No new namespaces and no mounts, as containers have it.
fn filter() -> Vec<sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const NAMESPACES: u32 = 0x7e02_0080;
    let refuse = |errno: i32| step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0);
    let mut program = vec![step(LOAD, 0, 0, 0)];
    for number in [libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_open_tree] {
        program.extend([step(EQUAL, number as u32, 0, 1), refuse(libc::EPERM)]);
    }
    program.extend([
        step(EQUAL, libc::SYS_clone3 as u32, 0, 1),
        refuse(libc::ENOSYS),
        step(EQUAL, libc::SYS_clone as u32, 0, 3),
        step(LOAD, 16, 0, 0),
        step(ANY_BIT, NAMESPACES, 0, 1),
        refuse(libc::EPERM),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]);
    program
}

fn without_namespaces(command: &mut Command) {
    let program = filter();
    let install = move || {
        let program =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: integers only, and a program that lives through the call.
        let results = unsafe {
            [
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
            ]
        };
        if results == [0, 0] { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(install) };
}

/// Runs the tests again under the filter; their output.
fn run_again(user: Option<u32>) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("it");
    // Where it was built an ordinary user may not get to.
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let home = folder.path().join("tmp");
    fs::create_dir(&home).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["--nocapture", "--test-threads", "1"])
        .args(HELD)
        .env("TMPDIR", &home)
        .env_remove("SANDGATE_TEST_SKIPS")
        .current_dir(&home);
    if let Some(user) = user {
        chown(&home, Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
    }
    without_namespaces(&mut command);
    let said = command.output().unwrap();
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    println!("{text}");
    assert!(said.status.success(), "{}", said.status);
    let left: Vec<_> = fs::read_dir(&home).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    text
}

#[test]
fn everything_holds_where_namespaces_are_refused() {
    let said = run_again(None);
    assert!(said.contains("at the process level"), "positive control: none was tried");
}

#[test]
fn everything_holds_for_an_ordinary_user_where_namespaces_are_refused() {
    if !is_root() {
        println!("skipped: this is the run of an ordinary user");
        return;
    }
    let said = run_again(Some(ORDINARY));
    assert!(said.contains("at the process level"), "positive control: none was tried");
}
