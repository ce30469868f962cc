//! System calls that neither the standard library nor rustix offers safely. The only unsafe code of the workspace.
//!
//! Everything here that forks or changes the process as a whole is called from the inner half only, which has one
//! thread; the functions say so where it matters.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::unix::AsyncFd;

/// The process id that a fork gave.
pub type Pid = libc::pid_t;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks this single-threaded process. `None` in the child.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the inner half has one thread, so the child may do anything the parent may.
    let pid = check_int(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Forks this single-threaded process into new namespaces and, if given, a version 2 cgroup. `None` in the child.
pub fn fork_into(
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Option<Pid>> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: all fields are integers for which zero is the default.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM this is a fork; one thread; the structure lives through the call.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>())
    })?;
    Ok((pid != 0).then_some(pid as Pid))
}

/// Moves this single-threaded process into new namespaces.
pub fn unshare(namespaces: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::unshare(namespaces) }).map(drop)
}

/// Waits for a child (or any with -1). `None` if `WNOHANG` was given and none has ended.
pub fn wait(pid: Pid, flags: libc::c_int) -> io::Result<Option<(Pid, libc::c_int)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place to write to.
        match check_int(unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(ended) => return Ok(Some((ended, status))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a signal; negative ids mean groups and -1 everything that may be signalled.
pub fn kill(pid: Pid, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Ends this process at once, without destructors.
pub fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Changes flags and the id mapping of a mount (or, recursively, of the mounts below it).
pub fn set_mount(
    mount: BorrowedFd<'_>,
    set: u64,
    id_map: Option<BorrowedFd<'_>>,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set | if id_map.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: id_map.map_or(0, |id_map| id_map.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant and the structure lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// `prctl` with integers only.
pub fn process_control(option: libc::c_int, argument: libc::c_ulong) -> io::Result<libc::c_int> {
    let zero: libc::c_ulong = 0;
    // SAFETY: callers use only options whose arguments are integers.
    check_int(unsafe { libc::prctl(option, argument, zero, zero, zero) })
}

/// Becomes this user and group with no others. The process has one thread.
pub fn become_user(id: libc::uid_t) -> io::Result<()> {
    // SAFETY: no groups are read from the null pointer, as the count is zero.
    check_int(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: integers only.
    check_int(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: integers only.
    check_int(unsafe { libc::setresuid(id, id, id) }).map(drop)
}

/// Empties the effective, permitted and inheritable sets.
pub fn drop_capabilities() -> io::Result<()> {
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets = [0_u32; 6];
    // SAFETY: version 3 reads a header of two words and two triples of words.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// Sets a resource limit, soft and hard.
pub fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // SAFETY: the structure lives through the call.
    check_int(unsafe { libc::setrlimit64(resource, &raw const limit) }).map(drop)
}

/// The hard value of a resource limit.
pub fn hard_limit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is a valid place to write to.
    check_int(unsafe { libc::getrlimit64(resource, &raw mut limit) })?;
    Ok(limit.rlim_max)
}

/// Installs a system call filter for this process and all it starts. `no_new_privs` must be set.
pub fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    let zero: libc::c_ulong = 0;
    // SAFETY: the kernel copies the program, which lives through the call.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, zero, &raw const program)
    })
    .map(drop)
}

/// Brings up the loopback interface of this network namespace.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: integers only; the result is checked before it is owned.
    let socket = unsafe {
        let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        OwnedFd::from_raw_fd(check_int(libc::socket(libc::AF_INET, flags, 0))?)
    };
    // SAFETY: an all-zero request is valid, and the name stays terminated.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives through the call.
    check_int(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    })
    .map(drop)
}

/// Blocks `SIGCHLD` and gives a descriptor that is readable when children have ended.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by `sigemptyset` before it is used; results are checked before they are owned.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check_int(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        Ok(OwnedFd::from_raw_fd(check_int(libc::signalfd(-1, &raw const set, flags))?))
    }
}

/// Lets the signals pass by that others send to whom they want to end, so that only a kill ends this process.
pub fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1]
        .into_iter()
        .chain([libc::SIGUSR2, libc::SIGALRM, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU])
    {
        // SAFETY: ignoring needs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Every signal as a fresh program expects it: default action, nothing blocked.
pub fn reset_signals() {
    // SAFETY: default actions need no handler; kernels refuse KILL and STOP, which is fine as they are default always.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Makes `from` the descriptor number `to`, inherited by programs.
pub fn place_fd(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    if from.as_raw_fd() == to {
        // SAFETY: integers only.
        return check_int(unsafe { libc::fcntl(to, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: integers only; what `to` was is meant to be closed.
    check_int(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// A copy of the descriptor whose number is at least `lowest`, closed on exec.
pub fn copy_fd_above(from: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the result is checked before it is owned.
    unsafe {
        let copy = libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest);
        Ok(OwnedFd::from_raw_fd(check_int(copy)?))
    }
}

/// Closes every descriptor from this number on. Nothing may use an `OwnedFd` of that range afterwards.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: called where the process owns none of them or is about to execute a program.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// Sets close-on-exec on every descriptor from this number on.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// Descriptor 0 as this process was started with it.
pub fn take_standard_input() -> OwnedFd {
    // SAFETY: called once, by the inner half, before anything else uses descriptor 0.
    unsafe { OwnedFd::from_raw_fd(0) }
}

/// Executes a program; returns only the reason why it could not.
pub fn execute(path: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer, and the texts they point to outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Touches that much memory, for the probe of the memory limit.
pub fn touch_memory(bytes: usize) -> io::Result<()> {
    // SAFETY: a fresh private mapping of that size, written inside its bounds only, and left to the end of the process.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Large pages are only faster; without them it is the same test.
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        for offset in (0..bytes).step_by(4096) {
            start.cast::<u8>().add(offset).write_volatile(1);
        }
    }
    Ok(())
}

/// Owns a descriptor by its number.
pub fn adopt_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    check_int(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, and the inner half adopts each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Registers a descriptor with the runtime. Must be called in the context of one.
pub fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same descriptor and keeps it open until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
