//! Copies parts of the host's `/etc`: only what everybody may read, and no private keys or passwords.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Refused;
use crate::Error;

const MAX_FILE: u64 = 8 << 20;
const MAX_BYTES: u64 = 128 << 20;
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: usize = 24;
/// Names that are never copied, at any depth.
const DENIED: [&str; 5] = ["shadow", "shadow-", "gshadow", "gshadow-", "private"];
/// Folders and files of the system that are never copied.
const DENIED_PATHS: [&str; 4] = ["/etc/ssh", "/etc/sudoers", "/etc/sudoers.d", "/etc/security"];

/// Copies trees of the host into a skeleton.
pub(super) struct Mirror<'a> {
    /// The root of the skeleton.
    pub skeleton: &'a Path,
    /// Whether a path of the host is visible in the sandbox without a copy.
    pub is_visible: &'a dyn Fn(&Path) -> bool,
    pub refused: Vec<Refused>,
    bytes: u64,
    entries: usize,
}

impl<'a> Mirror<'a> {
    pub(super) fn new(skeleton: &'a Path, is_visible: &'a dyn Fn(&Path) -> bool) -> Self {
        Self { skeleton, is_visible, refused: Vec::new(), bytes: 0, entries: 0 }
    }

    /// Copies the file, folder or link `path` to the same place. What is not there is left out.
    pub(super) fn copy(&mut self, path: &Path) -> Result<(), Error> {
        self.copy_to(path, &self.inside(path), 0)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.skeleton.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn copy_to(&mut self, path: &Path, target: &Path, depth: usize) -> Result<(), Error> {
        let denied =
            path.file_name().is_some_and(|name| DENIED.iter().any(|denied| name == *denied))
                || DENIED_PATHS.iter().any(|denied| path == Path::new(denied));
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if denied || fs::symlink_metadata(target).is_ok_and(|known| !known.is_dir()) {
            return Ok(());
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES || depth > MAX_DEPTH {
            return Err(Error::TooLarge {
                what: format!("the number of files at `{}`", path.display()),
                limit: MAX_ENTRIES as u64,
            });
        }
        if metadata.is_symlink() {
            return self.copy_link(path, target, depth);
        }
        if metadata.is_dir() {
            return self.copy_folder(path, target, &metadata, depth);
        }
        if metadata.is_file() { self.copy_file(path, target, &metadata) } else { Ok(()) }
    }

    /// A link stays one if it leads to something that is visible; else what it leads to is copied.
    fn copy_link(&mut self, path: &Path, target: &Path, depth: usize) -> Result<(), Error> {
        let link = fs::read_link(path).map_err(Error::io("read", path))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let leads_to = plain(&parent.join(&link));
        if leads_to.starts_with("/etc") || (self.is_visible)(&leads_to) {
            make_parent(target)?;
            std::os::unix::fs::symlink(&link, target).map_err(Error::io("create", target))?;
            let is_own_tree = leads_to.starts_with("/etc") && !leads_to.starts_with(parent);
            return if is_own_tree { self.copy(&leads_to) } else { Ok(()) };
        }
        match fs::canonicalize(path) {
            Ok(real)
                if real.is_file() && !real.starts_with("/proc") && !real.starts_with("/run") =>
            {
                self.copy_to(&real, target, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn copy_folder(
        &mut self,
        path: &Path,
        target: &Path,
        metadata: &fs::Metadata,
        depth: usize,
    ) -> Result<(), Error> {
        if metadata.mode() & 0o005 != 0o005 {
            return Ok(());
        }
        make_folder(target)?;
        let mut names: Vec<_> = match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
            Err(_) => return Ok(()),
        };
        names.sort_unstable();
        for name in names {
            self.copy_to(&path.join(&name), &target.join(&name), depth + 1)?;
        }
        Ok(())
    }

    fn copy_file(
        &mut self,
        path: &Path,
        target: &Path,
        metadata: &fs::Metadata,
    ) -> Result<(), Error> {
        if metadata.mode() & 0o004 == 0 {
            return Ok(());
        }
        if metadata.len() > MAX_FILE || self.bytes + metadata.len() > MAX_BYTES {
            self.refuse(path, "it is too large");
            return Ok(());
        }
        let Ok(text) = fs::read(path) else { return Ok(()) };
        if holds_private_key(&text) {
            self.refuse(path, "it holds a private key");
            return Ok(());
        }
        if holds_password(path, &text) {
            self.refuse(path, "it holds a password");
            return Ok(());
        }
        self.bytes += metadata.len();
        make_parent(target)?;
        fs::write(target, text).map_err(Error::io("write", target))?;
        let mode = fs::Permissions::from_mode((metadata.mode() & 0o755) | 0o644);
        fs::set_permissions(target, mode).map_err(Error::io("change the mode of", target))
    }

    fn refuse(&mut self, path: &Path, reason: &str) {
        self.refused.push(Refused {
            what: "a file of the system".to_owned(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Whether a text holds a private key in one of the usual armours.
pub(super) fn holds_private_key(text: &[u8]) -> bool {
    text.windows(17).any(|part| part == b"PRIVATE KEY-----\n" || part == b"PRIVATE KEY-----\r")
}

/// Settings of Maven and Gradle, which may hold the passwords of package servers.
fn holds_password(path: &Path, text: &[u8]) -> bool {
    let is_settings = path.extension().is_some_and(|kind| kind == "xml" || kind == "properties");
    let lossy = || {
        // The samples in comments are no passwords.
        let text = String::from_utf8_lossy(text).into_owned();
        let mut shown = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("<!--") {
            shown.push_str(before);
            rest = after.split_once("-->").map_or("", |(_, after)| after);
        }
        shown.push_str(rest);
        shown
    };
    is_settings
        && ["<password>", "<passphrase>", "<privateKey>"].iter().any(|tag| lossy().contains(tag))
}

/// The path without `.` and `..`, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            std::path::Component::RootDir
            | std::path::Component::Normal(_)
            | std::path::Component::Prefix(_) => plain.push(part),
        }
    }
    plain
}

/// Makes a folder of mode 755 and all above it.
pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    make_parent(path)?;
    fs::create_dir(path).map_err(Error::io("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("change the mode of", path))
}

pub(super) fn make_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), make_folder)
}
