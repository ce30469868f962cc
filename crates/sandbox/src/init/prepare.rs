//! What an engine asks once: is each namespace allowed, and give me the things every sandbox needs.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::launch::map_ids;
use super::{Failure, Step, tell};
use crate::wire::{Event, IdMap};
use crate::{raw, socket, tree};

/// In the order of the report; user first, as the others are made inside it.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

pub(super) fn prepare(control: &OwnedFd, id_map: IdMap, program: &Path) -> Result<i32, Failure> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("make a pipe");
    let ((made, tell_made), (mapped, tell_mapped)) = (pipe()?, pipe()?);
    match raw::fork().step("fork")? {
        None => {
            drop((made, tell_mapped));
            let code = match inside(control, id_map, program, tell_made, mapped) {
                Ok(()) => 0,
                Err(Failure { step, errno }) => {
                    let told = tell(control, &Event::Failed { step, errno });
                    if told.is_ok() { 1 } else { 3 }
                }
            };
            raw::exit_now(code)
        }
        Some(pid) => {
            drop((tell_made, mapped));
            let mut outcome = [0];
            // End of file: it could not, and has told so.
            if fs::File::from(made).read(&mut outcome).step("wait for the probe")? == 1 {
                map_ids(pid, id_map)?;
                fs::File::from(tell_mapped).write_all(b"1").step("release the probe")?;
            }
            raw::wait(pid, 0).step("wait for the probe")?;
            Ok(0)
        }
    }
}

fn inside(
    control: &OwnedFd,
    id_map: IdMap,
    program: &Path,
    made: OwnedFd,
    mapped: OwnedFd,
) -> Result<(), Failure> {
    // As root before the user namespace, where the program may lie below a closed directory; else inside.
    let program_early = (id_map == IdMap::Range).then(|| read_only(program)).transpose()?;
    // Resolved now: a link of /proc would lead into the mount namespace that is about to be left.
    let program = fs::canonicalize(program).step("find the program")?;
    let mut outcomes = Vec::new();
    let mut attempt = |namespace| {
        let errno = raw::unshare(namespace).err().and_then(|error| error.raw_os_error());
        outcomes.push(errno.unwrap_or(0) as u32);
        errno.is_none()
    };
    if !attempt(NAMESPACES[0]) {
        return tell(control, &Event::Prepared { namespaces: outcomes }).step("answer");
    }
    fs::File::from(made).write_all(b"1").step("tell the launcher")?;
    let mut byte = [0];
    fs::File::from(mapped).read_exact(&mut byte).step("wait for the id maps")?;
    // Each is tried, whatever came of the others.
    let refused = NAMESPACES[1..].iter().filter(|&&namespace| !attempt(namespace)).count();
    let mut fds = Vec::new();
    if refused == 0 {
        fds.push(match program_early {
            Some(program) => program,
            None => read_only(&program)?,
        });
        if id_map == IdMap::Range {
            fds.push(fs::File::open("/proc/self/ns/user").step("open the id mapping")?.into());
        }
    }
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let answer = Event::Prepared { namespaces: outcomes }.encode();
    socket::send(control, &answer, &fds).step("answer")
}

/// The program on a mount of its own that nothing can be written through: whoever gets hold of the running pid 1's
/// executable inside a sandbox still cannot change the host's file.
fn read_only(program: &Path) -> Result<OwnedFd, Failure> {
    let program_tree = tree::clone(program, false).step("open the program")?;
    let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    raw::set_mount(program_tree.as_fd(), flags, None, false).step("protect the program")?;
    Ok(program_tree)
}
