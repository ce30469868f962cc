//! What the server is given to do: pull requests that are opened, pushed to, closed and reopened, and deliveries of that
//! which come twice, late and in another order. The client sends each until it is acknowledged.

use std::collections::VecDeque;

use sandgate_testkit::Random;

use crate::dev::harness::{Change, NAME, branch};
use crate::world::World;

/// How often a pull request is new rather than an old one changed: once in this.
const NEW: u64 = 2;

/// A statement of the forge about a pull request, as it is delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub body: String,
}

/// A pull request as the forge has it.
#[derive(Debug, Clone)]
pub struct Pull {
    pub number: u64,
    pub branch: String,
    pub head: String,
    pub is_open: bool,
    /// Whether a gate fails at its head.
    pub is_broken: bool,
    /// How often its branch moved.
    moves: u32,
}

/// The forge.
pub struct Load {
    pub pulls: Vec<Pull>,
    waiting: VecDeque<Delivery>,
    /// Deliveries that were made, for repeating.
    made: Vec<Delivery>,
    /// Held back, to come after a later one.
    late: Option<Delivery>,
    second: u32,
}

impl Load {
    /// No pull requests yet.
    pub fn new() -> Self {
        Self {
            pulls: Vec::new(),
            waiting: VecDeque::new(),
            made: Vec::new(),
            late: None,
            second: 0,
        }
    }

    /// Something happens at the forge.
    pub fn happen(&mut self, world: &World, random: &mut Random) {
        if self.pulls.is_empty() || random.once_in(NEW) {
            let (is_broken, has_inputs) = (random.once_in(3), random.once_in(2));
            return self.open(world, random, is_broken, has_inputs);
        }
        let index = usize::try_from(random.below(self.pulls.len() as u64)).unwrap();
        let pull = self.pulls.remove(index);
        let (pull, action) = change(world, random, pull);
        self.pulls.push(pull);
        self.announce(world, random, action);
    }

    /// The pull request that changed last is announced.
    fn announce(&mut self, world: &World, random: &mut Random, action: &'static str) {
        let pull = self.pulls.last().unwrap().clone();
        self.second += 1;
        let body = Change {
            action,
            number: pull.number,
            branch: &pull.branch,
            from: NAME,
            second: self.second,
        }
        .payload(world);
        let id = format!("{}-{action}-{}", pull.number, self.second);
        self.say(random, Delivery { id, body });
    }

    /// The next delivery that is not acknowledged.
    pub fn next(&self) -> Option<&Delivery> {
        self.waiting.front()
    }

    /// It is acknowledged.
    pub fn acknowledged(&mut self) -> Delivery {
        self.waiting.pop_front().unwrap()
    }

    /// Nothing is held back any longer.
    pub fn flush(&mut self) {
        self.waiting.extend(self.late.take());
    }

    /// How many deliveries there were.
    pub fn count(&self) -> usize {
        self.made.len()
    }

    /// A new pull request, in which a gate fails or none does, and for which the setup runs again or does not.
    pub fn open(&mut self, world: &World, random: &mut Random, is_broken: bool, has_inputs: bool) {
        let number = self.pulls.len() as u64 + 1;
        let name = format!("topic-{number}");
        let text = number.to_string();
        let mut files = vec![("number.txt", text.as_str())];
        if is_broken {
            files.push(("broken", ""));
        }
        if has_inputs {
            files.push(("inputs.txt", text.as_str()));
        }
        branch(world, &name, &files);
        let head = head_of(world, &name);
        self.pulls.push(Pull { number, branch: name, head, is_open: true, is_broken, moves: 0 });
        self.announce(world, random, "opened");
    }

    fn say(&mut self, random: &mut Random, delivery: Delivery) {
        self.made.push(delivery.clone());
        if self.late.is_none() && random.once_in(5) {
            self.late = Some(delivery);
            return;
        }
        self.waiting.push_back(delivery);
        self.flush();
        if random.once_in(5) {
            self.repeat(random);
        }
    }

    /// Some delivery comes again: the very same, or the same words under another id.
    fn repeat(&mut self, random: &mut Random) {
        let mut again = random.pick(&self.made).clone();
        if random.once_in(2) {
            again.id = format!("{}-again-{}", again.id, self.made.len());
        }
        self.made.push(again.clone());
        self.waiting.push_back(again);
    }
}

/// Something happens to a known pull request.
fn change(world: &World, random: &mut Random, mut pull: Pull) -> (Pull, &'static str) {
    if !pull.is_open {
        pull.is_open = true;
        return (pull, "reopened");
    }
    if random.once_in(3) {
        pull.is_open = false;
        return (pull, "closed");
    }
    pull.moves += 1;
    world.git(&["switch", "--quiet", &pull.branch]);
    world.write("number.txt", &format!("{}, move {}", pull.number, pull.moves));
    if pull.is_broken && random.once_in(2) {
        world.git(&["rm", "--quiet", "broken"]);
        pull.is_broken = false;
    }
    pull.head = world.commit("move");
    world.git(&["switch", "--quiet", "main"]);
    (pull, "synchronize")
}

fn head_of(world: &World, branch: &str) -> String {
    world.git(&["rev-parse", branch]).trim().to_owned()
}
