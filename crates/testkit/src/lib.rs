//! What the tests of all crates share: a clock that is moved by hand, and ids that repeat from run to run.

mod clock;
mod ids;
pub mod queries;

pub use clock::MockClock;
pub use ids::CountingIds;
