//! What makes two hosts exchangeable as a base: architecture, system, installed packages, toolchains.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::toolchains::Tools;

/// Package databases that are the same on machines with the same packages.
const BY_CONTENT: [&str; 2] = ["/var/lib/dpkg/status", "/lib/apk/db/installed"];
/// Those that are not: their size and time stand for them.
const BY_TIME: [&str; 4] = [
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/pacman/local",
];
/// Where administrators put tools past the package manager.
const LISTED: [&str; 4] = ["/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/opt"];

/// The fingerprint of this host.
pub(super) fn fingerprint(tools: &Tools) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(b"sandgate host 1");
    field(std::env::consts::ARCH.as_bytes());
    field(&fs::read("/etc/os-release").unwrap_or_default());
    for path in BY_CONTENT {
        field(&fs::read(path).unwrap_or_default());
    }
    for path in BY_TIME {
        field(stamp(Path::new(path)).as_bytes());
    }
    for folder in LISTED {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                let size =
                    entry.metadata().ok().filter(fs::Metadata::is_file).map_or(0, |m| m.len());
                format!("{} {size}", entry.file_name().to_string_lossy())
            })
            .collect();
        entries.sort_unstable();
        field(entries.join("\n").as_bytes());
    }
    for version in &tools.versions {
        field(version.as_bytes());
    }
    for exposed in &tools.exposed {
        field(exposed.as_os_str().as_encoded_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The size, time and identity of a file or folder; empty if it is not there.
pub(super) fn stamp(path: &Path) -> String {
    fs::metadata(path).map_or_else(
        |_| String::new(),
        |found| format!("{} {} {} {}", found.len(), found.mtime(), found.mtime_nsec(), found.ino()),
    )
}
