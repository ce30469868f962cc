//! The system call filter: what a build or a test never needs and an attack does.
//!
//! Calls whose libraries have a fallback answer `ENOSYS`, the others `EPERM`. Tracing one's own processes is allowed:
//! sanitizers and debuggers need it, and the namespaces confine it.

use libc::{c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Not understood by the C library crate on all targets; the numbers are the same on all architectures.
const OPEN_TREE_ATTR: c_long = 467;
const QUOTACTL_FD: c_long = 443;

const MISSING: [c_long; 4] = [
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

const REFUSED: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80;

/// Sockets that reach past a network namespace or into rarely tested kernel parts.
const REFUSED_FAMILIES: [i32; 3] = [libc::AF_VSOCK, libc::AF_ALG, libc::AF_RDS];

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn step(code: u32, value: u32, on_true: u8, on_false: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: on_true, jf: on_false, k: value }
}

fn refuse(errno: i32) -> sock_filter {
    step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0)
}

/// The program. At the process level `spared` are processes that commands must not signal, as they could there; nor
/// everything of the user at once, which there is more than the sandbox. It keeps mistakes out, not attacks.
pub(super) fn program(spared: &[u32]) -> Vec<sock_filter> {
    let kill = step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0);
    let allow = step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    let mut program = vec![
        step(LOAD, OFFSET_ARCHITECTURE, 0, 0),
        step(EQUAL, ARCHITECTURE, 1, 0),
        kill,
        step(LOAD, OFFSET_NUMBER, 0, 0),
    ];
    if cfg!(target_arch = "x86_64") {
        // The x32 calls of the same architecture.
        program.extend([step(AT_LEAST, 0x4000_0000, 0, 1), kill]);
    }
    for number in MISSING {
        program.extend([step(EQUAL, number as u32, 0, 1), refuse(libc::ENOSYS)]);
    }
    for &number in REFUSED {
        program.extend([step(EQUAL, number as u32, 0, 1), refuse(libc::EPERM)]);
    }
    let first = step(LOAD, OFFSET_ARGUMENTS, 0, 0);
    if !spared.is_empty() {
        let number = spared.len() as u8;
        program.extend([step(EQUAL, libc::SYS_kill as u32, 0, 2 * (number + 1) + 2), first]);
        for pid in spared.iter().copied().chain([u32::MAX]) {
            program.extend([step(EQUAL, pid, 0, 1), refuse(libc::EPERM)]);
        }
        program.push(allow);
    }
    let second = step(LOAD, OFFSET_ARGUMENTS + 8, 0, 0);
    program.extend([
        step(EQUAL, libc::SYS_clone as u32, 0, 4),
        first,
        step(ANY_BIT, NEW_NAMESPACES, 0, 1),
        refuse(libc::EPERM),
        allow,
        // Typing into the terminal that one was started from.
        step(EQUAL, libc::SYS_ioctl as u32, 0, 5),
        second,
        step(EQUAL, libc::TIOCSTI as u32, 1, 0),
        step(EQUAL, libc::TIOCLINUX as u32, 0, 1),
        refuse(libc::EPERM),
        allow,
        step(EQUAL, libc::SYS_socket as u32, 0, 5),
        first,
    ]);
    for family in REFUSED_FAMILIES {
        let left = REFUSED_FAMILIES.iter().position(|&other| other == family).unwrap_or(0);
        let to_refusal = (REFUSED_FAMILIES.len() - 1 - left) as u8;
        let on_false = u8::from(to_refusal == 0);
        program.push(step(EQUAL, family as u32, to_refusal, on_false));
    }
    program.extend([refuse(libc::EAFNOSUPPORT), allow]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn judge(architecture: u32, number: u32, arguments: [u32; 2]) -> u32 {
        judge_by(&program(&[]), architecture, number, arguments)
    }

    fn judge_by(
        program: &[sock_filter],
        architecture: u32,
        number: u32,
        arguments: [u32; 2],
    ) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let line = program[at];
            let jump = |hit: bool| usize::from(if hit { line.jt } else { line.jf });
            at += 1;
            match u32::from(line.code) {
                LOAD => {
                    value = match line.k {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCHITECTURE => architecture,
                        OFFSET_ARGUMENTS => arguments[0],
                        _ => arguments[1],
                    }
                }
                EQUAL => at += jump(value == line.k),
                AT_LEAST => at += jump(value >= line.k),
                ANY_BIT => at += jump(value & line.k != 0),
                RETURN => return line.k,
                other => panic!("unknown code {other}"),
            }
        }
    }

    fn call(number: c_long, arguments: [u32; 2]) -> u32 {
        judge(ARCHITECTURE, number as u32, arguments)
    }

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    fn errno(value: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | value as u32
    }

    #[test]
    fn ordinary_calls_pass() {
        for number in [libc::SYS_read, libc::SYS_execve, libc::SYS_ptrace, libc::SYS_futex] {
            assert_eq!(call(number, [0, 0]), ALLOWED, "{number}");
        }
    }

    #[test]
    fn listed_calls_are_refused() {
        for number in MISSING {
            assert_eq!(call(number, [0, 0]), errno(libc::ENOSYS), "{number}");
        }
        for &number in REFUSED {
            assert_eq!(call(number, [0, 0]), errno(libc::EPERM), "{number}");
        }
    }

    #[test]
    fn clone_is_judged_by_its_flags() {
        assert_eq!(call(libc::SYS_clone, [libc::SIGCHLD as u32, 0]), ALLOWED);
        assert_eq!(call(libc::SYS_clone, [libc::CLONE_VM as u32, 0]), ALLOWED);
        assert_eq!(call(libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0]), errno(libc::EPERM));
        assert_eq!(call(libc::SYS_clone, [libc::CLONE_NEWNET as u32 | 17, 0]), errno(libc::EPERM));
    }

    #[test]
    fn spared_processes_are_not_signalled() {
        let program = program(&[70, 71]);
        let kill = |pid: u32| {
            judge_by(&program, ARCHITECTURE, libc::SYS_kill as u32, [pid, libc::SIGTERM as u32])
        };
        for spared in [70, 71, u32::MAX] {
            assert_eq!(kill(spared), errno(libc::EPERM), "{spared}");
        }
        for other in [0, 1, 69, 72, u32::MAX - 70] {
            assert_eq!(kill(other), ALLOWED, "{other}");
        }
        // What comes after it in the program is still judged.
        let typed = [0, libc::TIOCSTI as u32];
        let typed = judge_by(&program, ARCHITECTURE, libc::SYS_ioctl as u32, typed);
        assert_eq!(typed, errno(libc::EPERM));
        assert_eq!(call(libc::SYS_kill, [u32::MAX, 9]), ALLOWED, "with namespaces all are inside");
    }

    #[test]
    fn terminals_cannot_be_typed_into() {
        assert_eq!(call(libc::SYS_ioctl, [0, libc::TIOCSTI as u32]), errno(libc::EPERM));
        assert_eq!(call(libc::SYS_ioctl, [0, libc::TIOCLINUX as u32]), errno(libc::EPERM));
        assert_eq!(call(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32]), ALLOWED);
    }

    #[test]
    fn families_are_judged_one_by_one() {
        for family in REFUSED_FAMILIES {
            let expected = errno(libc::EAFNOSUPPORT);
            assert_eq!(call(libc::SYS_socket, [family as u32, 0]), expected, "{family}");
        }
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(call(libc::SYS_socket, [family as u32, 0]), ALLOWED, "{family}");
        }
    }

    #[test]
    fn foreign_calls_kill() {
        let kill = libc::SECCOMP_RET_KILL_PROCESS;
        assert_eq!(judge(0x4000_0003, libc::SYS_read as u32, [0, 0]), kill);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(judge(ARCHITECTURE, 0x4000_0000 | libc::SYS_read as u32, [0, 0]), kill);
        }
    }
}
