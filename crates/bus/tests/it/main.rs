//! The embedded bus on real database files.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod embedded;
mod relay;
