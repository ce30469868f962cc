//! Git objects of repositories on this machine.
//!
//! They are read through long-lived `git cat-file` processes ([`Readers`]), since a process for each question costs more
//! than all that is asked, and parsed here: total functions over bytes of hostile authors. What is immutable is kept in
//! memory, by repository and id; references are never kept. [`write_loose`] writes objects without a process.
//!
//! What it leaves out: references, packs, merging, and everything that changes a repository's working tree.

mod cache;
mod commit;
mod error;
mod hash;
mod id;
mod loose;
mod objects;
mod pool;
mod reader;
mod tree;

pub use commit::Commit;
pub use error::Error;
pub use hash::{Hasher, name_of};
pub use id::{Format, IdError, ObjectId};
pub use loose::write_loose;
pub use objects::{Found, Objects};
pub use pool::Readers;
pub use reader::Kind;
pub use tree::{Entry, Tree};
