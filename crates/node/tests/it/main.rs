//! The crate against real git repositories, real file systems and hostile trees.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[ctor::ctor]
fn become_init() {
    sandgate_sandbox::enter_if_init();
}

mod base;
mod contract;
mod layers;
mod ordinary_user;
mod process_level;
mod repository;
mod source;
mod support;
mod working_tree;
