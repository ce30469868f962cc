//! One file a command.

pub mod debug;
pub mod doctor;
pub mod init;
pub mod logs;
pub mod run;
pub mod schema;
pub mod snapshot;
