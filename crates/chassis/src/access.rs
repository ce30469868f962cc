//! Access to a server on this machine: its token, the record that it runs, and how others find both.

mod find;
mod record;
mod token;

pub use find::{FoundServer, find_server};
pub use record::{RunningServer, ServerRecord};
pub use token::{TOKEN_FILE, load_or_create_step_key, load_or_create_token, read_token};
