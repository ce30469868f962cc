//! Mirrors against real git repositories in temporary folders.

mod hostile;
mod limits;
mod mirrors;
mod pulls;
mod repository;
