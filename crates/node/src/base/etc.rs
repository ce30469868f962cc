//! The `/etc` of the skeleton: what the tools of the host need from theirs, and small files of ours.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is copied wherever it exists, besides what `/usr` and `/opt` link to.
pub(super) const COPIED: &[&str] = &[
    "alpine-release",
    "alternatives",
    "arch-release",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "dotnet",
    "ethertypes",
    "fedora-release",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "java",
    "ld-musl-aarch64.path",
    "ld-musl-x86_64.path",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "mailcap",
    "manpath.config",
    "mime.types",
    "networks",
    "os-release",
    "perl",
    "php",
    "pki",
    "postgresql-common",
    "protocols",
    "redhat-release",
    "rpc",
    "services",
    "shells",
    "ssl",
    "system-release",
    "terminfo",
    "timezone",
];

/// What is ours even where `/usr` links to it, or never wanted.
const NEVER: &[&str] = &[
    "bash.bashrc",
    "environment",
    "fstab",
    "gitconfig",
    "group",
    "hostname",
    "hosts",
    "machine-id",
    "mtab",
    "nsswitch.conf",
    "passwd",
    "pip.conf",
    "profile",
    "resolv.conf",
    "systemd",
    "xdg",
];

/// Files of ours.
pub(super) const OWN: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\ngate:x:1000:1000:gate:/home/gate:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("group", "root:x:0:\ntty:x:5:\ngate:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1\tlocalhost sandgate\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
    ("hostname", "sandgate\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\n\
         services: files\nethers: files\nrpc: files\n",
    ),
    ("resolv.conf", "# names are resolved by the proxy\n"),
    ("bash.bashrc", ""),
];

/// How many entries of `/usr` and `/opt` are looked at.
const MAX_ENTRIES: usize = 5_000_000;

/// The names below `/etc` that files of `folders` link to, directly.
pub(super) fn linked_names(folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut names = BTreeSet::new();
    let mut pending = apart(folders);
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MAX_ENTRIES {
                return names;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_symlink()
                && let Ok(target) = fs::read_link(entry.path())
                && let Some(name) = name_below_etc(&target)
            {
                names.insert(name);
            }
        }
    }
    names
}

/// The folders that hold all of the given ones, each file once: `/lib` is often a link into `/usr`.
fn apart(folders: &[PathBuf]) -> Vec<PathBuf> {
    let real: BTreeSet<PathBuf> =
        folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).collect();
    let is_below =
        |folder: &PathBuf| real.iter().any(|other| folder != other && folder.starts_with(other));
    real.iter().filter(|folder| !is_below(folder)).cloned().collect()
}

fn name_below_etc(target: &Path) -> Option<PathBuf> {
    let text = target.as_os_str().as_bytes();
    // Relative links climb to the root first: `../../etc/x`.
    let climbed = target.strip_prefix("/").ok().or_else(|| {
        let down = target.components().position(|part| part.as_os_str() != "..")?;
        (down > 0 && text.starts_with(b"..")).then(|| {
            let length = down * 3;
            Path::new(std::ffi::OsStr::from_bytes(&text[length.min(text.len())..]))
        })
    })?;
    let name = climbed.strip_prefix("etc").ok()?.components().next()?;
    let is_wanted = !NEVER.iter().any(|never| name.as_os_str() == *never);
    is_wanted.then(|| Path::new(name.as_os_str()).to_owned())
}
