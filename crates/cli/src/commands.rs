//! One file a command.

pub mod completions;
pub mod config;
pub mod debug;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod init;
pub mod logs;
pub mod pr;
pub mod repo;
pub mod run;
pub mod schema;
pub mod snapshot;
pub mod status;
