//! The crate against real git repositories, real file systems and hostile trees.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod base;
mod layers;
mod ordinary_user;
mod repository;
mod source;
mod support;
mod working_tree;
