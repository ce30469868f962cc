//! The front doors over services that live in this test's memory.

mod access;
mod escaping;
mod events;
mod pages;
mod problems;
mod rest;
mod services;
mod support;
mod webhooks;
