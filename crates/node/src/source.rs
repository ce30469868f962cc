//! Reads git repositories and makes layers of them: the files of a commit or of a working tree below `/workspace`, with a
//! `.git` that we write, or only the files that a setup may see.
//!
//! Order of calls: [`Repository::open`], [`Repository::resolve`], then a [`Tree`] by [`Repository::commit_tree`] or
//! [`Repository::working_tree`]; the keys of its layers are known before anything is written.

mod dot_git;
mod fill;
mod git;
mod history;
mod index;
mod inputs;
mod layer;
mod names;
mod objects;
mod repository;
mod sha;
mod tree;
mod working_tree;
mod writer;

pub use git::GitProgram;
pub use history::HISTORY_DEPTH;
pub use inputs::{Inputs, SetupFacts};
pub use layer::SourceOptions;
pub use repository::Repository;
pub use sha::{BranchName, Sha};
pub use tree::{FileKind, MAX_BYTES, MAX_FILES, Tree, UnsupportedEntry};
