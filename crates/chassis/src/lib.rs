//! What every process needs and only this crate may touch: the wall clock, randomness, the environment, the process's
//! configuration, its listeners, log output, metrics, tasks and signals.

mod access;
mod clock;
mod config;
mod environment;
mod error;
mod fail_point;
mod hold;
mod metrics;
mod secret;
mod server;
mod shutdown;
mod tasks;
mod telemetry;

pub use access::{
    FoundServer, RunningServer, ServerRecord, TOKEN_FILE, find_server, load_or_create_step_key,
    load_or_create_token, read_token,
};
pub use clock::{SystemClock, SystemIds};
pub use config::{CONFIG_FILE, Config, ConfigFlag, ConfigSources, LoadedConfig, ShownSetting};
pub use environment::{Environment, MissingHome};
pub use error::Error;
pub use fail_point::arm_fail_point;
pub use hold::Hold;
pub use metrics::process_registry;
pub use secret::Secret;
pub use server::{Listener, ServerLimits, serve_grpc, serve_http};
pub use shutdown::Shutdown;
pub use tasks::{Stage, Tasks};
pub use telemetry::{LogLevel, start_json_logging, start_logging};
