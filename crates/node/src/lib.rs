//! What one machine needs to put sandboxes together: layer directories, source layers and the host base.
//!
//! Everything here blocks (files and child processes); asynchronous callers move it to a blocking thread.

pub mod base;
pub mod error;
pub mod layers;
pub mod source;

pub use error::Error;
