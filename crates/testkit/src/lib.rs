//! What the tests of all crates share: a clock that is moved by hand, ids that repeat from run to run, and how to skip.

mod clock;
mod ids;
mod skip;

pub use clock::MockClock;
pub use ids::CountingIds;
pub use skip::skip;
