//! Mirrors of repositories that lie on this machine's disk.
//!
//! A mirror is a bare repository of our own, with its own objects and its own configuration. Its source, which may be
//! somebody's checkout with hostile configuration, is only ever read through `git upload-pack`, as any fetch does;
//! nothing is written there and no other git command runs in it.
//!
//! | in the mirror | what it is |
//! |---|---|
//! | `refs/remotes/source/<branch>` | the branches of the source, as of the last fetch |
//! | `refs/heads/<branch>` | branches pushed here for pull requests; the source does not have them |
//! | `refs/sandgate/keep/<commit>` | commits that were asked for, kept when their branch moves on |
//! | `refs/sandgate/merge/<base>/<head>` | merge commits made here |
//!
//! What it leaves out: repositories behind a network, pull requests and comments (rows elsewhere), packing for nodes.

mod branch;
mod compare;
mod fetch;
mod git;
mod merge;
mod mirror;
mod mirrors;
mod plain_merge;
mod read;

pub use branch::BranchUpdate;
pub use fetch::Wanted;
pub use git::Git;
pub use mirror::Mirror;
pub use mirrors::{MirrorRecord, Mirrors};
pub use read::{Branch, ChangedPaths};
