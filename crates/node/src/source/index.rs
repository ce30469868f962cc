//! Writes a git index (version 2) that knows the times and sizes of the files as a sandbox sees them, so that `git status`
//! is right at once and reads no file that is unchanged.
//!
//! The format: <https://git-scm.com/docs/index-format>.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::layer::SourceOptions;
use super::repository::path_of;
use super::sha::{BlobHasher, Sha};
use super::tree::Tree;
use crate::Error;

const GITLINK: u32 = 0o160_000;

struct IndexEntry<'a> {
    mode: u32,
    sha: &'a Sha,
    /// Time and size, if the file on the disk is what the entry says.
    known: Option<(i64, u64)>,
}

/// The index of `head`, for the files of `tree` as they lie in `workspace`.
pub(super) fn write_index(
    head: &Tree,
    tree: &Tree,
    options: &SourceOptions<'_>,
    workspace: &Path,
) -> Result<Vec<u8>, Error> {
    let mut entries = BTreeMap::new();
    for (path, file) in &head.files {
        let known = if tree.files.get(path) == Some(file) {
            let on_disk = workspace.join(path_of(path));
            let size =
                std::fs::symlink_metadata(&on_disk).map_err(Error::io("read", &on_disk))?.size();
            Some((options.time_of(path, file), size))
        } else {
            None
        };
        let entry = IndexEntry { mode: file.kind.git_mode(), sha: &file.sha, known };
        entries.insert(path.as_slice(), entry);
    }
    for (path, sha) in &head.submodules {
        entries.insert(path.as_slice(), IndexEntry { mode: GITLINK, sha, known: None });
    }
    Ok(encode(head.commit(), &entries))
}

fn encode(commit: &Sha, entries: &BTreeMap<&[u8], IndexEntry<'_>>) -> Vec<u8> {
    let mut index = Vec::new();
    index.extend_from_slice(b"DIRC");
    index.extend_from_slice(&2_u32.to_be_bytes());
    // The number of files is bounded far below this type's range.
    index.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (path, entry) in entries {
        let start = index.len();
        let (time, size) = entry.known.unwrap_or((0, 0));
        let seconds = u32::try_from(time).unwrap_or(0);
        // The field keeps the low 32 bits, by its definition.
        let low_size = (size & 0xffff_ffff) as u32;
        // Change time, modification time (each with nanoseconds), device, inode, mode, user, group, size.
        for field in [seconds, 0, seconds, 0, 0, 0, entry.mode, 0, 0, low_size] {
            index.extend_from_slice(&field.to_be_bytes());
        }
        index.extend_from_slice(&entry.sha.bytes());
        let name_length = u16::try_from(path.len().min(0xfff)).unwrap_or(0xfff);
        index.extend_from_slice(&name_length.to_be_bytes());
        index.extend_from_slice(path);
        let length = index.len() - start;
        index.resize(start + (length / 8 + 1) * 8, 0);
    }
    let mut checksum = BlobHasher::plain(commit.format());
    checksum.update(&index);
    index.extend_from_slice(&checksum.finish_bytes());
    index
}
