//! The proxy over real sockets: clients on one side, servers of these tests on the other.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails ends the test")]

mod bounds;
mod plain;
mod refusals;
mod support;
mod tunnel;
