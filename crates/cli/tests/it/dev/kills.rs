//! Kills of `sandgate dev` without a chance to tidy up, at random moments and at every named fail point. Whatever they hit:
//! what was acknowledged is not lost, no result is accepted twice, and nothing is left on the host.
//!
//! Everything follows from the seed but the speed of the machine. `SANDGATE_SEED` sets it.

mod check;
mod ledger;
mod load;
mod points;
mod siege;

use std::time::{Duration, Instant};

use sandgate_testkit::{Random, setting};

use self::points::POINTS;
use self::siege::Siege;

/// How many kills at random moments the short story has.
const RANDOM_KILLS: usize = 8;
/// How many kills a round of the long story has at random moments, and at fail points.
const ROUND: (usize, usize) = (20, 20);
/// How often a place may be passed before the kill, at most.
const PASSES: u64 = 4;

/// Says how to repeat what went wrong.
struct Replay {
    seed: u64,
    /// The rest of the command.
    how: &'static str,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay: SANDGATE_SEED={} {}", self.seed, self.how);
        }
    }
}

#[test]
fn a_kill_at_each_fail_point_loses_nothing() {
    let seed = Random::seed();
    let _replay = Replay { seed, how: "cargo test -p sandgate-cli a_kill_at_each_fail_point" };
    let mut siege = Siege::begin(seed);
    for point in siege.random.shuffled(POINTS.to_vec()) {
        siege.kill_at(point, 1);
        if !siege.was_at(point) {
            // What leads there may have come too late; with nothing else to do it is reached.
            siege.calm();
            siege.kill_at(point, 1);
        }
        assert!(siege.was_at(point), "`{point}` was never reached");
    }
    siege.end();
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    let seed = Random::seed();
    let _replay = Replay { seed, how: "cargo test -p sandgate-cli kills_at_random_moments" };
    let mut siege = Siege::begin(seed);
    for _ in 0..RANDOM_KILLS {
        siege.kill_at_random();
    }
    siege.end();
}

#[test]
#[ignore = "takes as long as it is told to: `make soak`"]
fn soak() {
    let minutes = setting("SANDGATE_SOAK_MINUTES").unwrap_or(30);
    let rounds = setting("SANDGATE_SOAK_ROUNDS").unwrap_or(u64::MAX);
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let first = Random::seed();
    for round in 0..rounds {
        let seed = first + round;
        println!("round {round}");
        let _replay = Replay { seed, how: "make soak ROUNDS=1" };
        let mut siege = Siege::begin(seed);
        let (random, named) = ROUND;
        let kinds: Vec<bool> = (0..random + named).map(|number| number < named).collect();
        for is_named in siege.random.shuffled(kinds) {
            if is_named {
                let point = *siege.random.pick(POINTS);
                let nth = 1 + siege.random.below(PASSES);
                siege.kill_at(point, nth);
            } else {
                siege.kill_at_random();
            }
        }
        siege.end();
        if Instant::now() > end {
            break;
        }
    }
}
