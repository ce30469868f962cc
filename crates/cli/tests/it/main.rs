//! The binary as its users meet it, and the invariants of the workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod asking;
mod configuring;
mod crash;
mod dev;
mod forms;
mod generated;
mod hostile;
mod input;
mod limits;
mod process_level;
mod proposing;
mod real_repositories;
mod running;
mod sample;
#[path = "../../../api/tests/it/services.rs"]
mod services;
mod serving;
#[expect(dead_code, reason = "the tests of the front doors themselves use all of it")]
#[path = "../../../api/tests/it/support.rs"]
mod support;
mod times;
mod world;
