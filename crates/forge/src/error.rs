//! What can go wrong with a repository, named so that a caller can act on it.

use std::path::PathBuf;

use sandgate_domain::ErrorCode;

use crate::names::{BranchName, CommitId, NameError, RepositoryName};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on a repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no git program.
    #[error("there is no git in `{searched}`: install git 2.38 or newer")]
    NoGit {
        /// The search path that was looked through.
        searched: String,
    },
    /// The git program lacks what we need.
    #[error(
        "{program} is git {found}; merging without a checkout needs git 2.38 or newer: update git"
    )]
    GitTooOld {
        /// The program that was asked.
        program: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// An object of a mirror could not be read or written.
    #[error(transparent)]
    Objects(#[from] sandgate_objects::Error),
    /// A name that can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The place to mirror from is no repository.
    #[error(
        "`{}` is not a git repository: give the folder of a repository, bare or with a checkout",
        .path.display()
    )]
    NotARepository {
        /// The place.
        path: PathBuf,
    },
    /// A repository without any commit.
    #[error("the repository `{}` has no commit yet: commit something first", .path.display())]
    EmptyRepository {
        /// The place.
        path: PathBuf,
    },
    /// A repository that git won't read for us because somebody else owns it.
    #[error(
        "`{}` belongs to another user, and git refuses to read it: change its owner, or add a clone \
         that belongs to the user of this server", .path.display()
    )]
    OwnedByOther {
        /// The place.
        path: PathBuf,
    },
    /// A repository that was never added.
    #[error(
        "the repository {name} is not known here: add it with `sandgate repo add <path> --name {name}`"
    )]
    UnknownRepository {
        /// What was asked for.
        name: RepositoryName,
    },
    /// A repository that was added already.
    #[error("the repository {name} is known already, mirrored from `{}`", .source_path.display())]
    Exists {
        /// The name it is known by.
        name: RepositoryName,
        /// Where it is mirrored from.
        source_path: PathBuf,
    },
    /// A commit that neither the mirror nor its source holds.
    #[error("{repository} has no commit {commit}: push it to the repository first")]
    MissingCommit {
        /// The repository.
        repository: RepositoryName,
        /// The commit.
        commit: CommitId,
    },
    /// A branch that is not there.
    #[error("{repository} has no branch `{}`", .branch.as_str().escape_debug())]
    MissingBranch {
        /// The repository.
        repository: RepositoryName,
        /// The branch.
        branch: BranchName,
    },
    /// A branch that can't be written: another one is in its way, or it belongs to the source.
    #[error("the branch `{}` can't be written: {problem}", .branch.as_str().escape_debug())]
    BranchRefused {
        /// The branch.
        branch: BranchName,
        /// Why.
        problem: &'static str,
    },
    /// A path that this commit does not have.
    #[error("`{}` is not in commit {commit}", .path.escape_debug())]
    MissingPath {
        /// The commit.
        commit: CommitId,
        /// The path, relative to the top of the tree.
        path: String,
    },
    /// A path that is something else than a file.
    #[error("`{}` in commit {commit} is a {found}, not a file", .path.escape_debug())]
    NotAFile {
        /// The commit.
        commit: CommitId,
        /// The path, relative to the top of the tree.
        path: String,
        /// `symbolic link`, `folder` or `submodule`.
        found: &'static str,
    },
    /// A file over the caller's limit.
    #[error("`{}` in commit {commit} has {bytes} bytes; at most {limit} are read", .path.escape_debug())]
    FileTooLarge {
        /// The commit.
        commit: CommitId,
        /// The path, relative to the top of the tree.
        path: String,
        /// Its size.
        bytes: u64,
        /// The most that the caller takes, in bytes.
        limit: u64,
    },
    /// Two commits that git can't merge by itself.
    #[error(
        "{} conflicts with {} in {} path(s): merge the base branch into the pull request",
        .head.short(), .base.short(), .paths.len()
    )]
    Conflict {
        /// What was merged into.
        base: CommitId,
        /// What was merged.
        head: CommitId,
        /// The conflicting paths, at most a hundred, lossily decoded.
        paths: Vec<String>,
    },
    /// Two commits without a common ancestor.
    #[error("{} and {} have no common history: nothing to merge", .base.short(), .head.short())]
    Unrelated {
        /// One commit.
        base: CommitId,
        /// The other.
        head: CommitId,
    },
    /// An object that git's own check refuses.
    #[error("{repository}: git refuses an unsound object: {detail}")]
    Unsound {
        /// The repository.
        repository: RepositoryName,
        /// What git says, shortened.
        detail: String,
    },
    /// No room left.
    #[error("no space left on the disk while git was to {operation}: free some and try again")]
    DiskFull {
        /// What was done.
        operation: &'static str,
    },
    /// It took longer than it may.
    #[error("git did not {operation} within {seconds} s and was stopped")]
    DeadlineExceeded {
        /// What was done.
        operation: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// More output than any sound repository makes.
    #[error("git printed more than {limit} bytes when it was to {operation}")]
    OutputTooLarge {
        /// What was done.
        operation: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Git failed in a way that has no name here.
    #[error("git could not {operation} (status {status}): {detail}")]
    GitFailed {
        /// What was done.
        operation: &'static str,
        /// Git's exit status; -1 after a signal.
        status: i32,
        /// What git says, shortened.
        detail: String,
    },
    /// Git answered something that we can't read.
    #[error("git answered the request to {operation} in a form that is not understood")]
    UnexpectedOutput {
        /// What was done.
        operation: &'static str,
    },
    /// The record beside a mirror can't be read.
    #[error("the mirror at `{}` has no readable record: remove the folder and add the repository again", .path.display())]
    BadRecord {
        /// The mirror.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("could not {operation} `{}`", .path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What kind of failure it is for the caller.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Name(_)
            | Self::NotARepository { .. }
            | Self::EmptyRepository { .. }
            | Self::NotAFile { .. }
            | Self::Unsound { .. } => ErrorCode::InvalidArgument,
            Self::UnknownRepository { .. }
            | Self::MissingCommit { .. }
            | Self::MissingBranch { .. }
            | Self::MissingPath { .. } => ErrorCode::NotFound,
            Self::Exists { .. }
            | Self::BranchRefused { .. }
            | Self::Conflict { .. }
            | Self::Unrelated { .. } => ErrorCode::Conflict,
            Self::OwnedByOther { .. } => ErrorCode::PermissionDenied,
            Self::NoGit { .. } | Self::GitTooOld { .. } => ErrorCode::Unsupported,
            Self::FileTooLarge { .. } | Self::DiskFull { .. } | Self::OutputTooLarge { .. } => {
                ErrorCode::ResourceExhausted
            }
            Self::DeadlineExceeded { .. } => ErrorCode::DeadlineExceeded,
            Self::Objects(error) => error.code(),
            Self::Io { source, .. } => code_of(source.kind()),
            Self::GitFailed { .. } | Self::UnexpectedOutput { .. } | Self::BadRecord { .. } => {
                ErrorCode::Internal
            }
        }
    }
}

fn code_of(kind: std::io::ErrorKind) -> ErrorCode {
    use std::io::ErrorKind;
    if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return ErrorCode::ResourceExhausted;
    }
    if kind == ErrorKind::PermissionDenied {
        return ErrorCode::PermissionDenied;
    }
    ErrorCode::Internal
}
