//! The way out of a sandbox with `network: full`: an ordinary HTTP proxy, served from outside the sandbox.
//!
//! A sandbox has an empty network namespace. Its init listens on [`ADDRESS`] in there and hands the listening socket to
//! the host, where [`serve`] answers on it: `CONNECT` tunnels and absolute-form HTTP, with connections made from the
//! host's network. Whatever a request names, the proxy resolves itself, judges every address ([`Policy`]) and connects to
//! exactly an address it has judged. Host loopback, link-local and metadata addresses and the host's own addresses are
//! never reached.
//!
//! Left out on purpose: looking into TLS, caching, SOCKS, and HTTP upgrades outside of tunnels.

mod address;
mod dial;
mod environment;
mod error;
mod headers;
mod lookup;
mod meter;
mod own;
mod policy;
mod proxy;
mod request;
mod target;
mod usage;

pub use address::{Refusal, judge};
pub use environment::{ADDRESS, environment};
pub use error::Error;
pub use policy::{Limits, Policy};
pub use proxy::{Proxy, serve};
pub use usage::{Incident, Usage};
