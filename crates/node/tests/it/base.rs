//! The host base.
