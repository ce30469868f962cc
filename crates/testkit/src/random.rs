//! Chance that repeats: everything that a test draws follows from its seed.

use std::time::Duration;

/// The variable that a seed is set by.
const VARIABLE: &str = "SANDGATE_SEED";

/// A source of numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The seed that `SANDGATE_SEED` names; another one for each process if it is not set.
    ///
    /// # Panics
    /// If the variable is not a number.
    pub fn seed() -> u64 {
        match setting(VARIABLE) {
            Some(seed) => seed,
            None => Self::new(u64::from(std::process::id())).below(1_000_000),
        }
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A time below `end`.
    pub fn within(&mut self, end: Duration) -> Duration {
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        end.mul_f64(part)
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// The same things in another order.
    pub fn shuffled<T>(&mut self, mut things: Vec<T>) -> Vec<T> {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last as u64 + 1) as usize);
        }
        things
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The number that a variable sets, if it is set and not empty.
///
/// # Panics
/// If it is not a number.
pub fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "who starts the tests hands a number to them")]
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}: `{text}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_one_differs() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn nothing_is_lost_in_shuffling_and_bounds_hold() {
        let mut random = Random::new(1);
        let mut shuffled = random.shuffled((0..50).collect());
        assert_ne!(shuffled, (0..50).collect::<Vec<_>>());
        shuffled.sort_unstable();
        assert_eq!(shuffled, (0..50).collect::<Vec<_>>());
        let second = Duration::from_secs(1);
        assert!((0..1_000).all(|_| random.within(second) < second));
    }
}
