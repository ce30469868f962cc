//! Times of one thing done many times.

use std::time::{Duration, Instant};

/// Times, sorted.
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Takes the times as they were measured.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Does something a few times unmeasured and then `count` times measured.
    pub fn of(
        count: usize,
        mut once: impl FnMut(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let warm_up = (count / 20).max(1);
        let mut times = Vec::with_capacity(count);
        for number in 0..warm_up + count {
            let begin = Instant::now();
            once(number)?;
            if number >= warm_up {
                times.push(begin.elapsed());
            }
        }
        Ok(Self::new(times))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that so many of a hundred do not exceed, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples = Samples::new((1..=200).rev().map(Duration::from_millis).collect());
        for (percent, expected) in [(50, 100.0), (90, 180.0), (99, 198.0), (100, 200.0)] {
            assert!((samples.percentile(percent) - expected).abs() < 1e-9, "{percent}");
        }
        let one = Samples::new(vec![Duration::from_millis(7)]);
        assert!((one.percentile(99) - 7.0).abs() < 1e-9);
    }
}
