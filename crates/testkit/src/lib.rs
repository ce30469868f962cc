//! What the tests of all crates share: a clock that is moved by hand, ids and chance that repeat from run to run, a look at
//! what sandboxes left on the host, and how to skip or to go without namespaces.

mod clock;
pub mod host;
mod ids;
pub mod queries;
mod random;
mod skip;
mod without_namespaces;

pub use clock::MockClock;
pub use host::Remains;
pub use ids::CountingIds;
pub use random::{Random, setting};
pub use skip::skip;
pub use without_namespaces::without_namespaces;
