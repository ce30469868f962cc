//! The one error of this crate and what each variant means to a caller.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandgate_domain::{ErrorCode, LayerId, SandboxId, TrustTier};

/// What went wrong with a layer, a source or the host base.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path, or the last name of one inside a tree.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A layer differs from what was sealed.
    #[error("layer {layer} is corrupt: {what}; delete it and build it again")]
    Corrupt {
        /// The layer.
        layer: LayerId,
        /// What differs.
        what: String,
    },
    /// The layer is not in this store.
    #[error("layer {0} is not in this layer store")]
    LayerMissing(LayerId),
    /// A sandbox of this id has a writable layer already.
    #[error("sandbox {0} has a writable layer already")]
    ScratchExists(SandboxId),
    /// Another process is making this layer now.
    #[error("layer {0} is being built by another process; try again when it is done")]
    LayerBusy(LayerId),
    /// No `git` program was found.
    #[error("no `git` program in the search path; install git")]
    GitMissing,
    /// Not a git repository.
    #[error("`{}` is not in a git repository; run `git init` there or name another folder", .0.display())]
    NotARepository(PathBuf),
    /// The repository has no commit yet.
    #[error("the repository `{}` has no commit yet; make one with `git commit`", .0.display())]
    EmptyRepository(PathBuf),
    /// The operation needs a working tree.
    #[error("the repository `{}` is bare and has no working tree; name a commit with `--ref`", .0.display())]
    BareRepository(PathBuf),
    /// A revision that can't be one.
    #[error("`{revision}` is not a revision: {why}")]
    RevisionInvalid {
        /// What was given, shortened and escaped.
        revision: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// A revision that names no commit here.
    #[error("no commit `{revision}` in `{}`: {hint}", .repository.display())]
    RevisionMissing {
        /// What was given, shortened and escaped.
        revision: String,
        /// Where it was looked for.
        repository: PathBuf,
        /// What to do next.
        hint: &'static str,
    },
    /// A tree holds a path that must not be written.
    #[error("the tree holds `{path}`, which is refused: {why}")]
    HostileTree {
        /// The path, escaped.
        path: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// A bound was passed.
    #[error("{what} is over the bound of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The bound, in the unit of `what`.
        limit: u64,
    },
    /// A git command failed.
    #[error("git {command} failed ({status}): {stderr}")]
    Git {
        /// The subcommand.
        command: String,
        /// Its exit status or signal.
        status: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A git command took too long and was killed.
    #[error("git {command} did not end within {} s and was killed", .deadline.as_secs())]
    GitDeadline {
        /// The subcommand.
        command: String,
        /// How long it was given.
        deadline: Duration,
    },
    /// An object of a repository could not be read.
    #[error(transparent)]
    Objects(#[from] sandgate_objects::Error),
    /// A file of the working tree changed while it was read.
    #[error("`{}` changed while it was copied; run again when nothing writes to the tree", .0.display())]
    SourceChanged(PathBuf),
    /// A glob of the configuration that cannot be read.
    #[error("`{glob}` is not a glob")]
    GlobInvalid {
        /// The glob.
        glob: String,
        /// The cause.
        #[source]
        source: globset::Error,
    },
    /// The isolation engine refused.
    #[error(transparent)]
    Sandbox(#[from] sandgate_sandbox::Error),
    /// The proxy of a sandbox can't be served.
    #[error(transparent)]
    Egress(#[from] sandgate_egress::Error),
    /// The sandbox does not live in this process.
    #[error("sandbox {0} does not live here; it ended, or was made elsewhere")]
    SandboxGone(SandboxId),
    /// The sandbox was made for another step.
    #[error("sandbox {0} was made for another step")]
    NotYours(SandboxId),
    /// Plain processes are for what their own user trusts.
    #[error(
        "what a {0} brings is never run at the process level; run it on a machine with namespaces"
    )]
    Untrusted(TrustTier),
    /// No checkout of this name was handed over.
    #[error("no checkout `{0}` is held by this process")]
    NotHeld(String),
    /// The layer of inputs was asked for, and there is no setup.
    #[error("there is no setup whose inputs could be made a layer")]
    NoSetup,
    /// Work on files was broken off.
    #[error("work on files was broken off")]
    Interrupted,
    /// The host cannot serve as a base.
    #[error("this host cannot serve as `image: host`: {what}; use an OCI image instead")]
    HostUnsupported {
        /// What is missing.
        what: String,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Io { source, .. } => io_code(source),
            Self::Corrupt { .. } | Self::Git { .. } => ErrorCode::Internal,
            Self::LayerMissing(_)
            | Self::RevisionMissing { .. }
            | Self::SandboxGone(_)
            | Self::NotHeld(_) => ErrorCode::NotFound,
            Self::ScratchExists(_) | Self::LayerBusy(_) | Self::SourceChanged(_) => {
                ErrorCode::Conflict
            }
            Self::NotYours(_) | Self::Untrusted(_) => ErrorCode::PermissionDenied,
            Self::GitMissing | Self::HostUnsupported { .. } => ErrorCode::Unsupported,
            Self::NotARepository(_)
            | Self::EmptyRepository(_)
            | Self::BareRepository(_)
            | Self::RevisionInvalid { .. }
            | Self::HostileTree { .. }
            | Self::NoSetup
            | Self::GlobInvalid { .. } => ErrorCode::InvalidArgument,
            Self::TooLarge { .. } => ErrorCode::ResourceExhausted,
            Self::GitDeadline { .. } => ErrorCode::DeadlineExceeded,
            Self::Objects(error) => error.code(),
            Self::Sandbox(error) => error.code(),
            Self::Egress(error) => error.code(),
            Self::Interrupted => ErrorCode::Internal,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn system(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.as_ref().to_owned();
        move |errno| Self::Io { action, path, source: errno.into() }
    }
}

fn io_code(source: &io::Error) -> ErrorCode {
    use io::ErrorKind;
    let kind = source.kind();
    if kind == ErrorKind::StorageFull
        || kind == ErrorKind::QuotaExceeded
        || kind == ErrorKind::FileTooLarge
    {
        ErrorCode::ResourceExhausted
    } else if kind == ErrorKind::PermissionDenied {
        ErrorCode::PermissionDenied
    } else if kind == ErrorKind::NotFound {
        ErrorCode::NotFound
    } else {
        ErrorCode::Internal
    }
}

/// A text from a stranger, shortened and with control characters escaped, for use in an error.
pub(crate) fn shown(text: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(&text[..text.len().min(160)]);
    let mut safe: String = lossy.chars().flat_map(char::escape_debug).collect();
    if text.len() > 160 {
        safe.push('…');
    }
    safe
}
