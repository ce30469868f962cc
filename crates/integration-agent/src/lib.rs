//! Owns runs, steps and their logs: decides what may run next, and accepts one result for each gate of a run.
//!
//! A run is a state machine without I/O (`sandgate_engine::run`). This crate feeds it with what happened, writes down what
//! it decided, and lets runners claim the steps that became ready.

mod agent;
mod consumer;
mod error;
mod grpc;
mod logs;
mod open_logs;
#[cfg(test)]
mod outside;
mod planning;
mod progress;
mod runs_service;

pub use agent::{Agent, AgentParts, NewRun, OUTBOX, Recovered, RunSource, SETUP, Saved};
pub use consumer::Consumer;
pub use error::Error;
pub use grpc::AgentService;
pub use logs::{CAP_BYTES, Logs, Span};
pub use planning::{Planner, Subject};
pub use progress::{Progress, Stream};
pub use runs_service::RunsService;
