//! Where repositories and pull requests live.
//!
//! [`names`] are the words that every forge shares: repositories, branches and commits, checked once at the edge.
//! [`local`] keeps mirrors of repositories that lie on this machine's disk and needs no account anywhere.

pub mod error;
pub mod local;
pub mod names;

pub use error::Error;
pub use names::{BranchName, CommitId, NameError, RepositoryName};
