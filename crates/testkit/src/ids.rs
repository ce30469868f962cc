//! Ids that repeat from run to run: UUIDs of version 7 whose time and randomness are one counter.

use std::sync::atomic::{AtomicU64, Ordering};

use sandgate_domain::Ids;
use uuid::Uuid;

/// Counts up; every id is larger than the one before.
#[derive(Debug, Default)]
pub struct CountingIds {
    next: AtomicU64,
}

impl Ids for CountingIds {
    fn uuid(&self) -> Uuid {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let random = u128::from(number).to_be_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[6..]);
        uuid::Builder::from_unix_timestamp_millis(number, &tail).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_seven_and_only_grow() {
        let ids = CountingIds::default();
        let mut last = ids.uuid();
        for _ in 0..10_000 {
            let next = ids.uuid();
            assert!(next > last);
            assert_eq!(next.get_version_num(), 7);
            last = next;
        }
    }
}
