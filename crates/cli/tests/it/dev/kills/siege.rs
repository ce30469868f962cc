//! One server over one folder that is killed again and again, and what it is asked when it is left in peace.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sandgate_testkit::{Random, queries};

use super::check::Findings;
use super::ledger::Ledger;
use super::load::Load;
use crate::dev::harness::{Dev, SECRET, command, world_with};
use crate::world::{Started, World, is_soon, until_within};

/// One gate fails where a file says so, one starts in the files of another, one writes for a while.
const CONFIG: &str = "version: 1
defaults: { retry: { infra: 10 } }
environment:
  setup: { run: 'cat inputs.txt > made.txt', inputs: [inputs.txt] }
gates:
  whole: { run: 'cat made.txt; test ! -e broken' }
  loud: { run: 'for i in 1 2 3 4 5 6; do echo line $i; sleep 0.05; done' }
  base: { run: 'cp number.txt artefact.txt' }
  onto: { from: base, run: 'cat artefact.txt' }
";
/// The longest time until a kill at a random moment, from the start of the process.
const LONGEST: Duration = Duration::from_millis(2000);
/// How many things happen before a kill at a random moment, at most.
const EVENTS: u64 = 3;
/// How many steps the server runs at a time.
const SLOTS: u64 = 2;
/// How long a fail point is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long everything may take to come to rest.
const REST: Duration = Duration::from_secs(75);
/// So many kills in a row at most: a gate that is hit by all of them still has attempts.
const KILLS_IN_A_ROW: usize = 6;
/// How many snapshots are entered at the end.
const ENTERED: usize = 3;

/// A server under siege.
pub struct Siege {
    pub random: Random,
    seed: u64,
    world: World,
    load: Load,
    ledger: Ledger,
    findings: Findings,
    kills: usize,
    in_a_row: usize,
    reached: BTreeSet<&'static str>,
    longest_start: Duration,
    longest_rest: Duration,
    began: Instant,
}

impl Siege {
    /// A folder that knows one repository.
    pub fn begin(seed: u64) -> Self {
        println!("seed: {seed}");
        let world = world_with(CONFIG);
        world.write("inputs.txt", "main");
        world.commit("inputs");
        let dev = Dev::start(&world);
        dev.add_repository();
        dev.kill();
        Self {
            random: Random::new(seed),
            seed,
            world,
            load: Load::new(),
            ledger: Ledger::default(),
            findings: Findings::default(),
            kills: 0,
            in_a_row: 0,
            reached: BTreeSet::new(),
            longest_start: Duration::ZERO,
            longest_rest: Duration::ZERO,
            began: Instant::now(),
        }
    }

    /// Whether the server was killed at this fail point.
    pub fn was_at(&self, point: &str) -> bool {
        self.reached.contains(point)
    }

    /// Starts the server, lets a pull request be opened that leads to a fail point, and kills the server when it is there for
    /// the nth time.
    pub fn kill_at(&mut self, point: &'static str, nth: u64) {
        self.load.open(&self.world, &mut self.random, point == "debug.recorded", true);
        self.load.flush();
        let stderr = self.live_and_die(Some(format!("{point}:{nth}")), None, PATIENCE);
        if stderr.contains(&format!("killed at the fail point {point}")) {
            self.reached.insert(point);
        }
    }

    /// Starts the server, lets things happen, and kills it at some moment; sometimes while it is about to stop.
    pub fn kill_at_random(&mut self) {
        for _ in 0..=self.random.below(EVENTS) {
            self.load.happen(&self.world, &mut self.random);
        }
        let moment = self.random.within(LONGEST);
        let stop = self.random.once_in(5).then(|| self.random.within(moment));
        if stop.is_some() {
            // What it hands back then is executed again, too.
            self.ledger.in_hand += SLOTS;
        }
        self.live_and_die(None, stop, moment);
    }

    /// Starts the server and leaves it in peace until everything has come to rest; then looks at everything, and stops it.
    pub fn calm(&mut self) {
        self.in_a_row = 0;
        self.load.flush();
        let begin = Instant::now();
        let dev = Dev::start(&self.world);
        self.longest_start = self.longest_start.max(begin.elapsed());
        deliver(&dev, &mut self.load, &mut self.ledger);
        let (mut left, mut last) = (Vec::new(), Vec::new());
        is_soon(REST, || {
            last = std::mem::replace(&mut left, self.world.sql(queries::UNFINISHED));
            left.is_empty()
        });
        let rest = begin.elapsed();
        println!("at rest after {rest:?}, at last {last:?}");
        self.longest_rest = self.longest_rest.max(rest);
        self.findings.unfinished(&left);
        self.findings.look_at_pulls(&self.world, &dev, &self.load.pulls);
        dev.signal(Signal::INT);
        let ended = dev.end_within(Duration::from_secs(10));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        for word in ["panicked", " ERROR "] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
        self.ledger.look(&self.world);
        self.findings.look_at_rows(&self.world);
        self.findings.look_at_host(&self.world);
        self.stop_if_anything_is_wrong();
    }

    /// The last look, and the figures.
    pub fn end(mut self) {
        self.calm();
        let entered = self.enter_snapshots();
        self.findings.look_at_logs(&self.world);
        let figures = self.world.sql(queries::FIGURES).remove(0);
        let [runs, gates, executed_again] = &figures[..] else { panic!("{figures:?}") };
        let executed_again: u64 = executed_again.parse().unwrap();
        let unapproved: usize = self.world.sql(queries::UNAPPROVED)[0][0].parse().unwrap();
        println!(
            "seed {}: {} kills ({} fail points), {} deliveries ({} acknowledged), {runs} runs, {gates} gates, \
             {executed_again} executed again of {} in hand, lost {}, accepted twice {}, leaks {}, \
             {unapproved} without approved snapshot, {entered} snapshots entered, longest start {} ms, longest way to rest {} ms, {} s",
            self.seed,
            self.kills,
            self.reached.len(),
            self.load.count(),
            self.ledger.acknowledged(),
            self.ledger.in_hand,
            self.findings.lost.len() + self.ledger.lost.len(),
            self.findings.twice.len() + self.ledger.changed.len(),
            self.findings.leaks.len(),
            self.longest_start.as_millis(),
            self.longest_rest.as_millis(),
            self.began.elapsed().as_secs(),
        );
        let is_explained = executed_again <= self.ledger.in_hand;
        assert!(is_explained, "more was executed again than kills interrupted");
        assert_eq!(unapproved, 0, "successes without snapshot");
        self.findings.look_at_host(&self.world);
        self.stop_if_anything_is_wrong();
    }

    /// From start to death; what the server said.
    fn live_and_die(
        &mut self,
        point: Option<String>,
        stop: Option<Duration>,
        moment: Duration,
    ) -> String {
        let what = point.as_deref().unwrap_or("a random moment").to_owned();
        let mut command = command(&self.world, Some(SECRET));
        command.env("SANDGATE__ADMISSION__SLOTS", SLOTS.to_string());
        command.envs(point.map(|point| ("SANDGATE_FAIL_POINT", point)));
        let begin = Instant::now();
        let started = self.world.start(command);
        let pid = Pid::from_raw(started.pid().cast_signed()).unwrap();
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                let signals = stop.map(|stop| (stop, Signal::INT));
                for (moment, signal) in signals.into_iter().chain([(moment, Signal::KILL)]) {
                    while begin.elapsed() < moment && !has_ended(pid) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    // It may be dead already.
                    let _too_late = pidfd_send_signal(&handle, signal);
                }
            });
            match Dev::serving(&self.world, started) {
                Err(started) => started.wait(),
                Ok(dev) => {
                    self.longest_start = self.longest_start.max(begin.elapsed());
                    deliver(&dev, &mut self.load, &mut self.ledger);
                    until_within(moment + PATIENCE, "the kill", || dev.started().has_ended());
                    dev.wait()
                }
            }
        });
        println!("{what}: dead after {:?}", begin.elapsed());
        let may_stop = stop.is_some() && matches!(ended.code, 0 | 130);
        assert!(may_stop || ended.code == -1, "it ended by itself: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        self.kills += 1;
        self.ledger.look(&self.world);
        self.in_a_row += 1;
        if self.in_a_row == KILLS_IN_A_ROW {
            self.calm();
        }
        ended.stderr
    }

    /// Some snapshots of those that are kept can be entered, and hold what they should.
    fn enter_snapshots(&mut self) -> usize {
        let kept = self.random.shuffled(self.world.sql(queries::KEPT_SNAPSHOTS));
        let chosen = &kept[..kept.len().min(ENTERED)];
        for snapshot in chosen {
            let [id, gate] = &snapshot[..] else { panic!("{snapshot:?}") };
            let file = if gate == "whole" { "broken" } else { "made.txt" };
            let entered = self.world.sandgate(&["debug", "--snapshot", id, "--", "cat", file]);
            if entered.code != 0 {
                self.findings.lost.push(format!("{id} can't be entered: {}", entered.stderr));
            }
        }
        chosen.len()
    }

    fn stop_if_anything_is_wrong(&mut self) {
        let Findings { lost, twice, leaks } = &self.findings;
        let wrong: Vec<String> = [
            ("lost", lost),
            ("lost", &self.ledger.lost),
            ("accepted twice", twice),
            ("accepted twice", &self.ledger.changed),
            ("left", leaks),
        ]
        .into_iter()
        .flat_map(|(kind, found)| found.iter().map(move |one| format!("{kind}: {one}")))
        .collect();
        if !wrong.is_empty() {
            let kept = self.world.keep();
            panic!("after {} kills, see {}:\n{}", self.kills, kept.display(), wrong.join("\n"));
        }
    }
}

/// Sends what waits until it is acknowledged, or the server is gone.
fn deliver(dev: &Dev<'_>, load: &mut Load, ledger: &mut Ledger) {
    while let Some(delivery) = load.next() {
        let answer = dev.deliver(&delivery.id, &delivery.body, SECRET);
        if answer.status == 202 {
            let delivery = load.acknowledged();
            // Its words are kept under the id that they came with first.
            if !answer.body.contains("said the same") {
                ledger.acknowledge(&delivery.id);
            }
            continue;
        }
        assert!(matches!(answer.status, 0 | 503), "{}: {}", answer.status, answer.body);
        if is_soon(Duration::from_millis(100), || dev.started().has_ended()) {
            return;
        }
    }
}

fn has_ended(pid: Pid) -> bool {
    Started::is_ended(pid.as_raw_nonzero().get().cast_unsigned())
}
