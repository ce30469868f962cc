//! The root of a sandbox: overlay, binds, `/tmp`, `/dev`, `/proc`, masks; then the old root goes.
//!
//! Runs as pid 1 in its new namespaces with every capability over them. Mount points are always reached with
//! `openat2` without following links, as the layers are the author's.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

use super::{Failure, Step};
use crate::raw;
use crate::tree::{self, Trees};
use crate::wire::{IdMap, Launch};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("pts/ptmx", "ptmx"),
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// Files of `/proc` that tell about the host or act on it.
const MASKED_FILES: [&str; 9] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/sched_debug",
    "proc/latency_stats",
    "proc/kmsg",
    "proc/kallsyms",
    "proc/sysrq-trigger",
];
const MASKED_DIRECTORIES: [&str; 3] = ["proc/acpi", "proc/scsi", "proc/asound"];
const READ_ONLY: [&str; 4] = ["proc/sys", "proc/irq", "proc/bus", "proc/fs"];
const POINTS: [&str; 3] = ["tmp", "dev", "proc"];

/// A `/proc` of this process namespace, not yet in any tree.
pub(super) fn mount_proc() -> Result<OwnedFd, Failure> {
    filesystem("proc", &[], strict()).step("mount /proc")
}

/// Builds the root and enters it. Gives the proxy listener if one is wanted.
pub(super) fn build(
    launch: &Launch,
    trees: Option<Trees>,
    proc: Option<OwnedFd>,
) -> Result<Option<TcpListener>, Failure> {
    rustix::process::umask(Mode::empty());
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).step("make mounts private")?;
    let trees = match trees {
        Some(trees) => trees,
        None => tree::open(launch, None)?,
    };
    let proc = match proc {
        Some(proc) => proc,
        None => mount_proc()?,
    };
    let root = overlay(launch, &trees)?;
    for (bind, tree) in launch.binds.iter().zip(&trees.binds) {
        attach(&root, tree, &bind.target)?;
    }
    drop(trees);
    let tmp_size = launch.tmp_bytes.to_string();
    let tmp_inodes = launch.tmp_inodes.to_string();
    let limits = [("size", tmp_size.as_str()), ("nr_inodes", &tmp_inodes), ("mode", "1777")];
    let gentle = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tmp = filesystem("tmpfs", &limits, gentle).step("mount /tmp")?;
    attach(&root, &tmp, "tmp")?;
    let null = devices(&root, &limits)?;
    attach(&root, &proc, "proc")?;
    // Before /proc/sys becomes read-only: no user namespace can ever be made in here.
    let knob = open_beneath(&root, "proc/sys/user/max_user_namespaces", OFlags::WRONLY);
    let knob = knob.step("open max_user_namespaces")?;
    rustix::io::write(&knob, b"0").step("forbid user namespaces")?;
    mask(&root, &null)?;
    enter(&root)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::system::sethostname(std::os::unix::ffi::OsStrExt::as_bytes(&*launch.hostname))
        .step("set the host name")?;
    raw::loopback_up().step("bring up the loopback interface")?;
    if !launch.proxied {
        return Ok(None);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, crate::PROXY_PORT))
        .map(Some)
        .step("listen for the proxy")
}

fn strict() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn filesystem(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for &(key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Mounts the overlay and gives its root.
///
/// Everything is first moved to short names in a small tmpfs of this namespace, so that neither the 4096 bytes of
/// mount options nor characters in paths matter. Its directory `points` is the lowest layer: mount points exist
/// without being written into the layers of the caller.
///
/// It is `volatile`: neither programs inside nor the end of the sandbox wait for the disk. Who keeps the writable layer
/// syncs its file system, as an unmount of the overlay would have done for every sandbox, kept or not.
fn overlay(launch: &Launch, trees: &Trees) -> Result<OwnedFd, Failure> {
    let stage = filesystem("tmpfs", &[("mode", "755")], MountAttrFlags::MOUNT_ATTR_NODEV)
        .step("mount the stage")?;
    rustix::mount::move_mount(&stage, "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("attach the stage")?;
    rustix::process::fchdir(&stage).step("enter the stage")?;
    let directory = |name: &str| {
        rustix::fs::mkdir(name, Mode::from_raw_mode(0o755)).step(format!("make {name}"))
    };
    for name in ["root", "upper", "points"] {
        directory(name)?;
    }
    mount_points(launch, trees)?;
    let place = |tree: &OwnedFd, name: &str| {
        rustix::mount::move_mount(tree, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .step(format!("attach layer {name}"))
    };
    place(&trees.upper, "upper")?;
    let mut lower = String::from("points");
    for (index, tree) in trees.lower.iter().enumerate() {
        let name = index.to_string();
        directory(&name)?;
        place(tree, &name)?;
        lower = format!("{name}:{lower}");
    }
    let part = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
    let options = format!(
        "lowerdir={lower},upperdir=upper/{},workdir=upper/{},userxattr,volatile",
        part(&launch.upper),
        part(&launch.work)
    );
    let options = std::ffi::CString::new(options).step("name the layers")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("sandgate", "root", "overlay", flags, &*options)
        .step("mount the overlay of the layers")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("root", flags, Mode::empty()).step("open the root")
}

fn mount_points(launch: &Launch, trees: &Trees) -> Result<(), Failure> {
    let points = Path::new("points");
    let mut made = BTreeSet::new();
    for point in POINTS {
        make_directories(&points.join(point), &mut made)?;
    }
    for (bind, tree) in launch.binds.iter().zip(&trees.binds) {
        let relative = bind.target.strip_prefix("/").unwrap_or(&bind.target);
        let point = points.join(relative);
        if tree::is_directory(tree).step("look at a bind")? {
            make_directories(&point, &mut made)?;
            continue;
        }
        make_directories(point.parent().unwrap_or(points), &mut made)?;
        match fs::File::create_new(&point) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).step(format!("make {}", point.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Like `create_dir_all`, with mode 755 whatever the umask.
fn make_directories(path: &Path, made: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    if path == Path::new("points") || made.contains(path) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent, made)?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).step(format!("make {}", path.display())),
    }
    made.insert(path.to_owned());
    Ok(())
}

fn open_beneath(
    root: &OwnedFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = path.as_ref();
    let relative = path.strip_prefix("/").unwrap_or(path);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Moves a detached mount to a path inside, refusing links on the way.
fn attach(root: &OwnedFd, tree: &OwnedFd, target: impl AsRef<Path>) -> Result<(), Failure> {
    let target = target.as_ref();
    let point = open_beneath(root, target, OFlags::PATH)
        .step(format!("reach the mount point {} without links", target.display()))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", &point, "", flags)
        .step(format!("mount on {}", target.display()))
}

/// Makes `/dev` and gives a mount of the host's `/dev/null` to mask files with.
fn devices(root: &OwnedFd, shared_memory: &[(&str, &str)]) -> Result<OwnedFd, Failure> {
    let no_set_user = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let dev =
        filesystem("tmpfs", &[("size", "64k"), ("nr_inodes", "64"), ("mode", "755")], no_set_user)
            .step("mount /dev")?;
    attach(root, &dev, "dev")?;
    for name in DEVICES {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666)).step("make a device")?;
        let tree = device(name)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&tree, "", &dev, name, flags)
            .step(format!("mount on /dev/{name}"))?;
    }
    for (to, name) in DEVICE_LINKS {
        rustix::fs::symlinkat(to, &dev, name).step("link a device")?;
    }
    for name in ["pts", "shm"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).step("make a directory")?;
    }
    let no_code = no_set_user | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = [("ptmxmode", "0666"), ("mode", "620"), ("max", "256")];
    let pts = filesystem("devpts", &pts, no_code).step("mount /dev/pts")?;
    attach(root, &pts, "dev/pts")?;
    let shm = no_set_user | MountAttrFlags::MOUNT_ATTR_NODEV;
    let shm = filesystem("tmpfs", shared_memory, shm).step("mount /dev/shm")?;
    attach(root, &shm, "dev/shm")?;
    // Devices stay writable on a read-only mount; their names can no longer be replaced.
    raw::set_mount(dev.as_fd(), libc::MOUNT_ATTR_RDONLY, None, false).step("protect /dev")?;
    device("null")
}

fn device(name: &str) -> Result<OwnedFd, Failure> {
    let tree = tree::clone(&Path::new("/dev").join(name), false);
    let tree = tree.step(format!("open /dev/{name} of the host"))?;
    let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    raw::set_mount(tree.as_fd(), flags, None, false).step("restrict a device")?;
    Ok(tree)
}

fn mask(root: &OwnedFd, null: &OwnedFd) -> Result<(), Failure> {
    for path in MASKED_FILES {
        if !exists(root, path)? {
            continue;
        }
        let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
            | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
            | rustix::mount::OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(null, "", flags).step("copy the mask")?;
        attach(root, &tree, path)?;
    }
    for path in MASKED_DIRECTORIES {
        if exists(root, path)? {
            let empty = [("size", "4k"), ("nr_inodes", "2"), ("mode", "555")];
            let flags = strict() | MountAttrFlags::MOUNT_ATTR_RDONLY;
            let empty = filesystem("tmpfs", &empty, flags).step("make an empty directory")?;
            attach(root, &empty, path)?;
        }
    }
    for path in READ_ONLY {
        if exists(root, path)? {
            let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
                | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
                | rustix::mount::OpenTreeFlags::AT_RECURSIVE;
            let tree = rustix::mount::open_tree(root, path, flags).step("copy a mount")?;
            let flags = libc::MOUNT_ATTR_RDONLY
                | libc::MOUNT_ATTR_NOSUID
                | libc::MOUNT_ATTR_NODEV
                | libc::MOUNT_ATTR_NOEXEC;
            raw::set_mount(tree.as_fd(), flags, None, true).step(format!("protect {path}"))?;
            attach(root, &tree, path)?;
        }
    }
    Ok(())
}

fn exists(root: &OwnedFd, path: &str) -> Result<bool, Failure> {
    match open_beneath(root, path, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).step(format!("look for {path}")),
    }
}

fn enter(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).step("enter the root")?;
    rustix::process::pivot_root(".", ".").step("change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("leave the old root")?;
    rustix::process::chdir("/").step("enter the new root")
}

/// Whether a failed step means that the host hides parts of its `/proc`.
pub(crate) fn is_masked_proc(step: &str, errno: i32, id_map: IdMap) -> bool {
    step == "mount /proc" && errno == libc::EPERM && id_map != IdMap::Range
}
