//! One file a command.

pub mod debug;
#[cfg_attr(not(test), expect(dead_code, reason = "played by the composition of all services"))]
pub mod demo;
pub mod doctor;
pub mod init;
pub mod logs;
pub mod pr;
pub mod repo;
pub mod run;
pub mod schema;
pub mod snapshot;
pub mod status;
