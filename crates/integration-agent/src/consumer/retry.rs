//! When an event is tried again.

use std::time::Duration;

use sandgate_domain::ErrorCode;

use crate::error::Error;

/// How often an event is tried: over about a quarter of an hour.
pub(super) const MAX_DELIVERIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How long to wait after this delivery, counted from 1, went wrong.
pub(super) fn wait_after(delivery: u32) -> Duration {
    let doublings = delivery.saturating_sub(1).min(16);
    (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT)
}

/// Whether the same may go well a little later.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::Unavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::ResourceExhausted
            | ErrorCode::Internal
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_seconds_to_minutes_and_stay_there() {
        let waits: Vec<u64> =
            (1..=MAX_DELIVERIES).map(|number| wait_after(number).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
        assert_eq!(wait_after(0), FIRST_WAIT);
    }
}
