//! What holds for every run, whatever its gates, their outcomes, and the order of the news.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Debug, Clone)]
struct Gate {
    needs: Vec<usize>,
    from: Option<usize>,
    blocking: bool,
    filtered: bool,
    gate_retries: u32,
    /// What each attempt ends with; the last one for all further attempts.
    outcomes: Vec<Outcome>,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Exited(0)),
        2 => Just(Outcome::Exited(1)),
        1 => Just(Outcome::Signaled(9)),
        1 => Just(Outcome::TimedOut),
        1 => Just(Outcome::LimitBroken { limit: "memory".to_owned() }),
        1 => Just(infra()),
    ]
}

fn gates() -> impl Strategy<Value = Vec<Gate>> {
    let gate = (
        proptest::collection::vec(any::<Index>(), 0..4),
        proptest::option::of(any::<Index>()),
        proptest::bool::weighted(0.7),
        proptest::bool::weighted(0.2),
        0_u32..3,
        proptest::collection::vec(outcome(), 1..4),
    );
    proptest::collection::vec(gate, 1..9).prop_map(|drawn| {
        let mut gates: Vec<Gate> = Vec::new();
        for (needs, from, blocking, filtered, gate_retries, outcomes) in drawn {
            let place = |index: &Index| (!gates.is_empty()).then(|| index.index(gates.len()));
            let needs = needs.iter().filter_map(place).collect();
            let from = from.as_ref().and_then(place);
            gates.push(Gate { needs, from, blocking, filtered, gate_retries, outcomes });
        }
        gates
    })
}

const INFRA_RETRIES: u32 = 1;

fn file(gates: &[Gate], fail_fast: &str, setup: bool) -> String {
    let mut text =
        format!("fail_fast: {fail_fast}\ndefaults: {{ retry: {{ infra: {INFRA_RETRIES} }} }}\n");
    if setup {
        text.push_str("environment: { setup: { run: x } }\n");
    }
    text.push_str("gates:\n");
    for (index, gate) in gates.iter().enumerate() {
        let needs: Vec<String> = gate.needs.iter().map(|need| format!("g{need}")).collect();
        let from = gate.from.map(|from| format!(", from: g{from}")).unwrap_or_default();
        let when = if gate.filtered { ", when: { paths: [never] }" } else { "" };
        text.push_str(&format!(
            "  g{index}: {{ run: x, needs: [{}]{from}{when}, blocking: {}, retry: {{ gate: {} }} }}\n",
            needs.join(", "),
            gate.blocking,
            gate.gate_retries
        ));
    }
    text
}

/// The world around a run: what was started and has not ended yet, and everything that was ever said.
struct World<'g> {
    gates: &'g [Gate],
    setup_outcomes: &'g [Outcome],
    state: RunState,
    under_way: Vec<Input>,
    said: Vec<Input>,
    starts: BTreeMap<String, u32>,
    ends: Vec<GateResult>,
}

impl World<'_> {
    fn tell(&mut self, input: Input) {
        let (state, effects) =
            decide(&self.state, input.clone(), Timestamp::from_micros(1)).unwrap();
        self.said.push(input);
        self.state = state;
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartSetup { attempt } => {
                let outcome = nth(self.setup_outcomes, attempt);
                self.under_way.push(Input::SetupEnded { attempt, outcome });
            }
            Effect::StartGate { gate, attempt, from } => {
                let gates = &self.state;
                for need in &gates.gate(&gate).unwrap().needs {
                    let need = gates.gate(need).unwrap().record().expect("a need has ended");
                    assert!(need.passes(), "`{gate}` starts although a need did not pass");
                }
                if let Some(from) = from {
                    let from = gates.gate(&from).unwrap().record().unwrap();
                    assert_eq!(from.result, GateResult::Success, "there are files to start in");
                }
                *self.starts.entry(gate.to_string()).or_default() += 1;
                assert_eq!(self.starts[gate.as_str()], attempt, "attempts are counted");
                let index: usize = gate.as_str()[1..].parse().unwrap();
                let outcome = nth(&self.gates[index].outcomes, attempt);
                self.under_way.push(Input::GateEnded { gate, attempt, outcome });
            }
            Effect::CancelGate { gate, attempt, .. } => {
                let is_meant = |input: &Input| matches!(input, Input::GateEnded { gate: other, attempt: number, .. } if *other == gate && *number == attempt);
                assert!(self.under_way.iter().any(is_meant), "only what runs is stopped");
            }
            Effect::CancelSetup { .. } => {}
            Effect::EndRun { result } => self.ends.push(result),
        }
    }
}

fn nth(outcomes: &[Outcome], attempt: u32) -> Outcome {
    outcomes[(attempt as usize - 1).min(outcomes.len() - 1)].clone()
}

/// Plays a run to its end: `choices` pick what ends next, and which old news comes again.
fn play<'g>(
    gates: &'g [Gate],
    fail_fast: &str,
    setup_outcomes: &'g [Outcome],
    choices: &[Index],
    cancel_at: Option<usize>,
) -> World<'g> {
    let text = file(gates, fail_fast, !setup_outcomes.is_empty());
    let state = state_after(&text, Some("changed"));
    let (under_way, said, starts, ends) = (vec![], vec![], BTreeMap::new(), vec![]);
    let mut world = World { gates, setup_outcomes, state, under_way, said, starts, ends };
    world.tell(Input::Begin);
    for step in 0.. {
        if cancel_at == Some(step) {
            world.tell(Input::Cancel { reason: "stop".to_owned() });
        }
        if world.under_way.is_empty() {
            break;
        }
        assert!(step < 200, "the run ends");
        let choice = choices[step % choices.len()];
        let input = world.under_way.swap_remove(choice.index(world.under_way.len()));
        if let Input::GateEnded { gate, attempt, .. } = &input {
            world.tell(Input::GateStarted { gate: gate.clone(), attempt: *attempt });
        }
        world.tell(input);
        let again = world.said[choice.index(world.said.len())].clone();
        let repeated = decide(&world.state, again, Timestamp::from_micros(9)).unwrap();
        assert_eq!(repeated, (world.state.clone(), vec![]), "repeated news changes nothing");
    }
    world
}

/// What people see of each gate.
fn records(state: &RunState) -> Vec<(GateResult, Option<String>, u32)> {
    let record = |gate: &GateState| {
        let record = gate.record().expect("every gate has a record");
        (record.result, record.reason.clone(), record.attempts)
    };
    state.gates.iter().map(record).collect()
}

fn choices() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_run_ends_with_one_record_a_gate(
        gates in gates(),
        fail_fast in proptest::sample::select(vec!["off", "blocking", "any"]),
        setup in proptest::collection::vec(outcome(), 0..3),
        choices in choices(),
        cancel_at in proptest::option::weighted(0.3, 0_usize..8),
    ) {
        let world = play(&gates, fail_fast, &setup, &choices, cancel_at);
        prop_assert_eq!(world.ends.len(), 1);
        prop_assert_eq!(world.state.result(), Some(world.ends[0]));
        prop_assert_eq!(records(&world.state).len(), gates.len());
        for (index, state) in world.state.gates.iter().enumerate() {
            let gate = &gates[state.name.as_str()[1..].parse::<usize>().unwrap()];
            let record = state.record().unwrap();
            let started = world.starts.get(state.name.as_str()).copied().unwrap_or(0);
            prop_assert_eq!(record.attempts, started, "{}", index);
            prop_assert!(started <= 1 + INFRA_RETRIES + gate.gate_retries);
            prop_assert_eq!(record.reason.is_none(), record.result == GateResult::Success);
        }
        if world.ends[0] == GateResult::Success {
            for state in world.state.gates.iter().filter(|gate| gate.blocking) {
                let record = state.record().unwrap();
                prop_assert!(record.result == GateResult::Success || record.cause == Cause::Filtered);
            }
        }
        if world.state.cancelled.is_some() {
            prop_assert_eq!(world.ends[0], GateResult::Cancellation);
        }
    }

    #[test]
    fn the_order_of_independent_news_changes_nothing(
        gates in gates(),
        setup in proptest::collection::vec(outcome(), 0..3),
        one in choices(),
        other in choices(),
    ) {
        let one = play(&gates, "off", &setup, &one, None).state;
        let other = play(&gates, "off", &setup, &other, None).state;
        prop_assert_eq!(one.result(), other.result());
        prop_assert_eq!(records(&one), records(&other));
    }

    #[test]
    fn fail_fast_never_turns_red_into_green(gates in gates(), choices in choices()) {
        let full = play(&gates, "off", &[], &choices, None).ends[0];
        for fail_fast in ["blocking", "any"] {
            let stopped = play(&gates, fail_fast, &[], &choices, None).ends[0];
            if !full.passes() {
                prop_assert!(!stopped.passes(), "{} with {}: {}", full, fail_fast, stopped);
            }
        }
    }
}
