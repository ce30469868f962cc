//! The parts of a process against the real machine: sockets, files, locks.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails ends the test")]

mod access;
mod config;
mod grpc;
mod hold;
mod http;
mod support;
mod tasks;
