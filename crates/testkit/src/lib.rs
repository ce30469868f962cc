//! What the tests of all crates share: a clock that is moved by hand, ids that repeat from run to run, and how to skip or to go
//! without namespaces.

mod clock;
mod ids;
pub mod queries;
mod skip;
mod without_namespaces;

pub use clock::MockClock;
pub use ids::CountingIds;
pub use skip::skip;
pub use without_namespaces::without_namespaces;
