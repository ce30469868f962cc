//! Writes chosen files of a tree into a layer, and reads them whole for keys.

use std::io::Write;
use std::os::fd::AsFd;

use super::objects::read_blobs;
use super::repository::{Repository, path_of};
use super::sha::BlobHasher;
use super::tree::{FileKind, MAX_BYTES, MAX_LINK, Origin, Tree, TreeFile};
use super::working_tree::{Found, WorkingReader, file_kind, open_root};
use super::writer::TreeWriter;
use crate::Error;
use crate::error::shown;

/// The time that a file gets, in seconds since 1970.
pub(super) type TimeOf<'a> = &'a dyn Fn(&[u8], &TreeFile) -> i64;

/// Takes the index of a file and a chunk of its contents.
type UseChunk<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), Error>;

/// Chosen files of a tree, in the order of their paths.
pub(super) type Chosen<'a> = Vec<(&'a [u8], &'a TreeFile)>;

impl Repository {
    /// Writes `files` of `tree`.
    pub(super) fn fill(
        &self,
        tree: &Tree,
        files: &Chosen<'_>,
        writer: &mut TreeWriter,
        time_of: TimeOf<'_>,
    ) -> Result<(), Error> {
        match tree.origin {
            Origin::Commit => self.fill_from_commit(files, writer, time_of),
            Origin::WorkingTree { .. } => self.fill_from_disk(files, writer, time_of),
        }
    }

    fn fill_from_commit(
        &self,
        files: &Chosen<'_>,
        writer: &mut TreeWriter,
        time_of: TimeOf<'_>,
    ) -> Result<(), Error> {
        let shas: Vec<_> = files.iter().map(|(_, file)| &file.sha).collect();
        let mut total = 0_u64;
        let mut open: Option<(usize, std::fs::File)> = None;
        let mut written = 0_u64;
        let mut link = Vec::new();
        read_blobs(self, &shas, &mut |index, length, chunk| {
            let (path, file) = files[index];
            total += chunk.len() as u64;
            if total > MAX_BYTES {
                let what = "the size of the source in bytes".to_owned();
                return Err(Error::TooLarge { what, limit: MAX_BYTES });
            }
            if file.kind == FileKind::Symlink {
                if length > MAX_LINK {
                    return Err(Error::HostileTree {
                        path: shown(path),
                        why: "it is a symlink with a target of more than 4095 bytes",
                    });
                }
                link.extend_from_slice(chunk);
                if link.len() as u64 == length {
                    writer.symlink(path, &link, time_of(path, file))?;
                    link.clear();
                }
                return Ok(());
            }
            if open.as_ref().is_none_or(|(of, _)| *of != index) {
                open = Some((index, writer.file(path)?));
                written = 0;
            }
            if let Some((_, target)) = &mut open {
                target.write_all(chunk).map_err(Error::io("write", path_of(path)))?;
                written += chunk.len() as u64;
                if written == length {
                    writer.finish_file(target, path, mode_of(file.kind), time_of(path, file))?;
                }
            }
            Ok(())
        })
    }

    fn fill_from_disk(
        &self,
        files: &Chosen<'_>,
        writer: &mut TreeWriter,
        time_of: TimeOf<'_>,
    ) -> Result<(), Error> {
        let mut reader = self.reader()?;
        let mut clones = true;
        for (path, file) in files {
            let time = time_of(path, file);
            match (reader.find(path)?, file.kind) {
                (Found::Symlink(target), FileKind::Symlink) => {
                    let mut hasher = BlobHasher::new(file.sha.format(), target.len() as u64);
                    hasher.update(&target);
                    require_same(path, hasher.finish() == file.sha)?;
                    writer.symlink(path, &target, time)?;
                }
                (Found::File(source, stat), FileKind::Plain | FileKind::Executable) => {
                    require_same(path, file_kind(&stat) == file.kind)?;
                    let mut copy = writer.file(path)?;
                    clones = clones && rustix::fs::ioctl_ficlone(copy.as_fd(), &source).is_ok();
                    let sha =
                        reader.hash(&source, &stat, path, file.sha.format(), &mut |chunk| {
                            if clones {
                                return Ok(());
                            }
                            copy.write_all(chunk).map_err(Error::io("write", path_of(path)))
                        })?;
                    require_same(path, sha == file.sha)?;
                    writer.finish_file(&copy, path, mode_of(file.kind), time)?;
                }
                _ => return Err(Error::SourceChanged(path_of(path).to_owned())),
            }
        }
        Ok(())
    }

    /// Passes the contents of `files` on, in their order, chunk by chunk.
    pub(super) fn read_files(
        &self,
        tree: &Tree,
        files: &Chosen<'_>,
        use_chunk: UseChunk<'_>,
    ) -> Result<(), Error> {
        if !tree.is_working_tree() {
            let shas: Vec<_> = files.iter().map(|(_, file)| &file.sha).collect();
            return read_blobs(self, &shas, &mut |index, _, chunk| use_chunk(index, chunk));
        }
        let mut reader = self.reader()?;
        for (index, (path, file)) in files.iter().enumerate() {
            match reader.find(path)? {
                Found::Symlink(target) => use_chunk(index, &target)?,
                Found::File(source, stat) => {
                    let sha =
                        reader.hash(&source, &stat, path, file.sha.format(), &mut |chunk| {
                            use_chunk(index, chunk)
                        })?;
                    require_same(path, sha == file.sha)?;
                }
                Found::Directory(_) | Found::Special | Found::Nothing => {
                    return Err(Error::SourceChanged(path_of(path).to_owned()));
                }
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<WorkingReader, Error> {
        let root = open_root(self.require_top_level()?)?;
        Ok(WorkingReader { root, buffer: vec![0; 1 << 17] })
    }
}

fn require_same(path: &[u8], same: bool) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::SourceChanged(path_of(path).to_owned())) }
}

fn mode_of(kind: FileKind) -> u32 {
    if kind == FileKind::Executable { 0o755 } else { 0o644 }
}
