//! The front doors over services that live in this test's memory.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails ends the test")]

mod access;
mod escaping;
mod events;
mod pages;
mod problems;
mod rest;
mod services;
mod support;
mod webhooks;
