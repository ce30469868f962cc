//! The layer store of one machine: sealed layers and the writable layers of living sandboxes.
//!
//! One private folder: `layers/<layer id>/{diff,record.json}` and `scratch/<sandbox id>/{upper,work}`. A thing gets its
//! final name by one rename when it is complete; what a crash leaves has a temporary name and [`LayerStore::sweep`] removes
//! it. Sealed layers are never changed. Overlay attributes are those of `userxattr` mounts.

mod build;
mod digest;
mod record;
mod remove;
mod seal;
mod store;
mod sweep;
mod walk;

pub use build::{Durability, LayerBuild};
pub use digest::TreeDigest;
pub use record::Layer;
pub use seal::SealRule;
pub use store::{LayerStore, Scratch, Usage};
pub use sweep::Swept;

pub(crate) use remove::remove_tree;
pub(crate) use store::usage;

/// Seconds since 1970 of 2000-01-01T00:00:00Z: the time of what a setup made, and of its input files.
pub const SETUP_TIME: i64 = 946_684_800;
/// Seconds since 1970 of 2010-01-01T00:00:00Z: the time of the files of a commit; newer than any setup.
pub const COMMIT_TIME: i64 = 1_262_304_000;

/// The numeric ids that the files of a new layer get on disk; `None` leaves them to the calling user.
pub type Owner = Option<(u32, u32)>;
