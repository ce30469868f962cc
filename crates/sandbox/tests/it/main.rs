//! What the engine promises, tried for real.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[ctor::ctor]
fn become_init() {
    sandgate_sandbox::enter_if_init();
    attacks::calls::attack_if_asked();
}

mod attacks;
mod basics;
mod endings;
mod limits;
mod plain;
mod process_level;
mod user;
mod world;
