//! The parts of a process against the real machine: sockets, files, locks.

mod access;
mod grpc;
mod http;
mod support;
