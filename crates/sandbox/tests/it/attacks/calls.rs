//! System calls that this very program makes when it is started with `--attack <name>`, inside or on the host.
//!
//! Arguments are chosen so that on the host the call has no effect even for root: it is refused for its arguments, and
//! so with another error than inside.

use std::ptr::null;

/// One call.
pub struct Call {
    pub name: &'static str,
    /// The error number inside.
    pub inside: i32,
    attempt: fn() -> i64,
}

const fn call(name: &'static str, inside: i32, attempt: fn() -> i64) -> Call {
    Call { name, inside, attempt }
}

macro_rules! system {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the kernel checks the arguments; all pointers are null or to constants.
        || unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}

use libc::{EAFNOSUPPORT, ENOSYS, EPERM};

pub const CALLS: &[Call] = &[
    call("unshare-user", EPERM, system!(SYS_unshare, libc::CLONE_NEWUSER)),
    call("unshare-mount", EPERM, system!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS)),
    call("clone-user", EPERM, || {
        // SAFETY: a fork by another name; the child ends at once.
        unsafe {
            let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
            let result = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if result == 0 {
                libc::_exit(0);
            }
            result
        }
    }),
    call("clone3", ENOSYS, system!(SYS_clone3, null::<u8>(), 0)),
    call("setns", EPERM, system!(SYS_setns, -1, 0)),
    call("mount", EPERM, system!(SYS_mount, null::<u8>(), null::<u8>(), null::<u8>(), 0, 0)),
    call("umount", EPERM, system!(SYS_umount2, c"/no/such".as_ptr(), 0)),
    call("pivot_root", EPERM, system!(SYS_pivot_root, null::<u8>(), null::<u8>())),
    call("fsopen", EPERM, system!(SYS_fsopen, null::<u8>(), 0)),
    call("open_tree", EPERM, system!(SYS_open_tree, -1, c"x".as_ptr(), 0)),
    call("move_mount", EPERM, system!(SYS_move_mount, -1, c"x".as_ptr(), -1, c"y".as_ptr(), 0)),
    call("mount_setattr", EPERM, system!(SYS_mount_setattr, -1, c"".as_ptr(), 0, null::<u8>(), 0)),
    call("chroot", EPERM, system!(SYS_chroot, c"/no/such".as_ptr())),
    call("open_by_handle_at", EPERM, system!(SYS_open_by_handle_at, -1, null::<u8>(), 0)),
    call("bpf", EPERM, system!(SYS_bpf, -1, null::<u8>(), 0)),
    call("perf_event_open", EPERM, system!(SYS_perf_event_open, null::<u8>(), 0, -1, -1, 0)),
    call("userfaultfd", EPERM, system!(SYS_userfaultfd, -1)),
    call("io_uring_setup", ENOSYS, system!(SYS_io_uring_setup, 0, null::<u8>())),
    call("keyctl", EPERM, system!(SYS_keyctl, -1, 0, 0, 0, 0)),
    call("add_key", EPERM, system!(SYS_add_key, null::<u8>(), null::<u8>(), null::<u8>(), 0, 0)),
    call("reboot", EPERM, system!(SYS_reboot, 0, 0, 0, null::<u8>())),
    call("settimeofday", EPERM, system!(SYS_settimeofday, 1, null::<u8>())),
    call("swapon", EPERM, system!(SYS_swapon, null::<u8>(), 0)),
    call("quotactl", EPERM, system!(SYS_quotactl, -1, null::<u8>(), 0, null::<u8>())),
    call("syslog", EPERM, system!(SYS_syslog, -1, null::<u8>(), 0)),
    call("sethostname", EPERM, system!(SYS_sethostname, null::<u8>(), -1)),
    call("fanotify_init", EPERM, system!(SYS_fanotify_init, -1, 0)),
    call("type-into-terminal", EPERM, system!(SYS_ioctl, -1, libc::TIOCSTI, null::<u8>())),
    call("console-selection", EPERM, system!(SYS_ioctl, -1, libc::TIOCLINUX, null::<u8>())),
    call(
        "raw-socket",
        EPERM,
        system!(SYS_socket, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ),
    call("packet-socket", EPERM, system!(SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0)),
    call("algorithm-socket", EAFNOSUPPORT, system!(SYS_socket, libc::AF_ALG, -1, 0)),
    call("become-root", EPERM, system!(SYS_setuid, 0)),
    call("device", EPERM, || {
        // SAFETY: as above. Removed again where it worked.
        unsafe {
            let path = c"/tmp/sandgate-attack-device".as_ptr();
            let result =
                libc::syscall(libc::SYS_mknodat, libc::AT_FDCWD, path, libc::S_IFCHR, 0x103);
            if result == 0 {
                libc::unlink(path);
            }
            result
        }
    }),
    call("real-time", EPERM, || {
        let parameter = 1_i32;
        // SAFETY: the structure is one integer.
        unsafe {
            libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const parameter)
        }
    }),
];

/// What an attempt gave: 0 for success, else the error number.
pub fn attempt(name: &str) -> i32 {
    let Some(call) = CALLS.iter().find(|call| call.name == name) else { return -1 };
    if (call.attempt)() >= 0 {
        return 0;
    }
    std::io::Error::last_os_error().raw_os_error().unwrap_or(-1)
}

/// Runs as the attacker if this program was started so. Prints the name and what came of it, for all names given.
pub fn attack_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("--attack") {
        return;
    }
    for name in arguments {
        match name.as_str() {
            "foreign" => {
                // SAFETY: `getpid` by its x32 number; without a filter it fails or gives the id.
                unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) };
                println!("foreign survived");
            }
            "trace-init" => {
                // SAFETY: no memory is involved.
                let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0) };
                println!("trace-init {}", if result < 0 { "refused" } else { "done" });
            }
            "trace-child" => println!("trace-child {}", trace_child()),
            _ => println!("{name} {}", attempt(&name)),
        }
    }
    std::process::exit(0);
}

fn trace_child() -> &'static str {
    // SAFETY: the child only waits to be killed.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::pause();
            libc::_exit(0);
        }
        let result = libc::ptrace(libc::PTRACE_SEIZE, child, 0, 0);
        libc::kill(child, libc::SIGKILL);
        if result < 0 { "refused" } else { "done" }
    }
}
