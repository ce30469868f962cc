//! The crate against real git repositories, real file systems and hostile trees.

mod base;
mod layers;
mod repository;
mod source;
mod support;
mod working_tree;
