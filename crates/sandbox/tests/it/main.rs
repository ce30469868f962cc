//! What the engine promises, tried for real.

#[ctor::ctor]
fn become_init() {
    sandgate_sandbox::enter_if_init();
}

mod basics;
mod world;
