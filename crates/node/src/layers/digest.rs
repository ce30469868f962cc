//! The digest of a tree: names, modes, owner classes, contents, links, whiteouts and opacity; independent of times.
//!
//! Entries are hashed in order of their names, each directory with an end mark, so that the cost grows with the number of
//! entries and not with their depth.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;

use rustix::fs::{FileType, Mode, OFlags, fgetxattr, flistxattr, openat, readlinkat};
use rustix::io::Errno;

use super::walk::{Entry, Tree, Visit, walk};
use crate::Error;

/// The digest of the files of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeDigest([u8; 32]);

impl fmt::Display for TreeDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for TreeDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no tree digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree digest has 64 lower-case hex digits")]
pub struct ParseDigestError;

impl FromStr for TreeDigest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseDigestError);
        }
        let hash = blake3::Hash::from_hex(text).map_err(|_| ParseDigestError)?;
        Ok(Self(*hash.as_bytes()))
    }
}

pub(super) fn digest_tree(root: OwnedFd) -> Result<TreeDigest, Error> {
    let user = rustix::process::geteuid().as_raw();
    let mut digest = Digest { hasher: blake3::Hasher::new(), user, buffer: vec![0; 1 << 17] };
    digest.hasher.update(b"sandgate tree 1\0");
    digest.attributes(&root, c".")?;
    walk(root, Tree::Still, &mut digest)?;
    Ok(TreeDigest(*digest.hasher.finalize().as_bytes()))
}

struct Digest {
    hasher: blake3::Hasher,
    user: u32,
    buffer: Vec<u8>,
}

impl Digest {
    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    fn head(&mut self, entry: &Entry<'_>, kind: u8) {
        // Where one user owns everything, everything is the gate's.
        let is_system = self.user == 0 && entry.stat.st_uid == 0;
        self.hasher.update(&[kind, u8::from(is_system)]);
        self.hasher.update(&(entry.stat.st_mode & 0o7777).to_le_bytes());
        self.field(entry.name.to_bytes());
    }

    fn attributes(&mut self, file: &OwnedFd, name: &CStr) -> Result<(), Error> {
        let attributes = read_attributes(file, name)?;
        self.hasher.update(&(attributes.len() as u64).to_le_bytes());
        for (attribute, value) in attributes {
            self.field(attribute.to_bytes());
            self.field(&value);
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(entry.parent, entry.name, flags, Mode::empty()).map_err(entry.error("open"))?;
        self.attributes(&file, entry.name)?;
        let mut file = File::from(file);
        let mut length = 0_u64;
        loop {
            let read = file
                .read(&mut self.buffer)
                .map_err(Error::io("read", super::walk::name_path(entry.name)))?;
            if read == 0 {
                break;
            }
            length += read as u64;
            self.hasher.update(&self.buffer[..read]);
        }
        self.hasher.update(&length.to_le_bytes());
        Ok(())
    }
}

impl Visit for Digest {
    fn enter(&mut self, directory: &Entry<'_>, open: &OwnedFd) -> Result<(), Error> {
        self.head(directory, b'd');
        self.attributes(open, directory.name)
    }

    fn other(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let kind = entry.kind();
        if kind == FileType::RegularFile {
            self.head(entry, b'f');
            self.file(entry)
        } else if kind == FileType::Symlink {
            self.head(entry, b'l');
            let target =
                readlinkat(entry.parent, entry.name, Vec::new()).map_err(entry.error("read"))?;
            self.field(target.to_bytes());
            Ok(())
        } else {
            self.head(entry, b'w');
            self.hasher.update(&entry.stat.st_rdev.to_le_bytes());
            Ok(())
        }
    }

    fn leave(&mut self, _directory: &Entry<'_>) -> Result<(), Error> {
        self.hasher.update(b"e");
        Ok(())
    }
}

/// The `user.` attributes that belong to the tree, sorted. Traces of the mount that wrote it are left out.
fn read_attributes(file: &OwnedFd, name: &CStr) -> Result<Vec<(CString, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for attribute in attribute_names(file, name)? {
        let bytes = attribute.to_bytes();
        if !bytes.starts_with(b"user.") || is_trace(bytes) {
            continue;
        }
        let mut value = vec![0_u8; 1 << 16];
        let length = fgetxattr(file.as_fd(), &*attribute, &mut value[..])
            .map_err(Error::system("read an attribute of", super::walk::name_path(name)))?;
        value.truncate(length);
        found.push((attribute, value));
    }
    found.sort();
    Ok(found)
}

/// Whether the attribute only tells where the overlay copied something from.
pub(super) fn is_trace(attribute: &[u8]) -> bool {
    matches!(attribute, b"user.overlay.origin" | b"user.overlay.impure" | b"user.overlay.nlink")
}

/// The names of all attributes of an open file; none where the file system has no attributes.
pub(super) fn attribute_names(file: &OwnedFd, name: &CStr) -> Result<Vec<CString>, Error> {
    let mut list = vec![0_u8; 1 << 10];
    let length = loop {
        match flistxattr(file.as_fd(), &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < 1 << 16 => list.resize(1 << 16, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(errno) => {
                let path = super::walk::name_path(name);
                return Err(Error::system("read the attributes of", path)(errno));
            }
        }
    };
    let names = list[..length].split_inclusive(|byte| *byte == 0);
    Ok(names.filter_map(|part| CStr::from_bytes_with_nul(part).ok()).map(CStr::to_owned).collect())
}
