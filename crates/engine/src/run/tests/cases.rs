//! Runs told as conversations.

use super::*;
use Outcome::{Exited, Signaled, TimedOut};

const NOTHING: [&str; 0] = [];

#[test]
fn a_run_goes_through_its_gates() {
    let mut run = Conversation::new(
        "environment: { setup: { run: x } }
gates: { build: { run: x }, unit: { run: x, from: build }, lint: { run: x } }",
    );
    assert_eq!(run.begin(), ["start setup 1"]);
    assert_eq!(run.setup_ended(1, Exited(0)), ["start build 1", "start lint 1"]);
    assert_eq!(run.ended("build", Exited(0)), ["start unit 1 from build"]);
    assert_eq!(run.ended("lint", Exited(0)), NOTHING);
    assert_eq!(run.ended("unit", Exited(0)), ["end success"]);
    assert_eq!(
        run.records(),
        ["build: success, 1: -", "unit: success, 1: -", "lint: success, 1: -"]
    );
    assert_eq!(run.state.result(), Some(GateResult::Success));
}

#[test]
fn a_failed_need_skips_and_counts_as_its_cause() {
    let mut run = Conversation::new(
        "fail_fast: off
gates: { build: { run: x }, unit: { run: x, from: build }, e2e: { run: x, needs: unit }, lint: { run: x } }",
    );
    assert_eq!(run.begin(), ["start build 1", "start lint 1"]);
    assert_eq!(run.ended("build", Exited(2)), NOTHING);
    assert_eq!(run.ended("lint", Exited(0)), ["end failure"]);
    assert_eq!(
        run.records(),
        [
            "build: failure, 1: exit code 2",
            "unit: skip, 0: needs `build`, which ended failure",
            "e2e: skip, 0: needs `unit`, which did not run because `build` ended failure",
            "lint: success, 1: -",
        ]
    );
}

#[test]
fn fail_fast_stops_the_others_and_the_run_is_a_failure() {
    let mut run = Conversation::new(
        "gates: { build: { run: x }, unit: { run: x, needs: build }, lint: { run: x }, last: { run: x, needs: lint } }",
    );
    run.begin();
    assert_eq!(
        run.ended("build", Exited(1)),
        ["cancel lint 1: stopped by fail_fast because `build` ended failure"]
    );
    let stopped = Outcome::Cancelled { reason: "told to".to_owned() };
    assert_eq!(run.ended("lint", stopped), ["end failure"]);
    assert_eq!(
        run.records(),
        [
            "build: failure, 1: exit code 1",
            "unit: skip, 0: needs `build`, which ended failure",
            "lint: cancellation, 1: stopped by fail_fast because `build` ended failure",
            "last: cancellation, 0: stopped by fail_fast because `build` ended failure",
        ]
    );
}

#[test]
fn fail_fast_starts_nothing_that_it_stops_at_once() {
    let mut run = Conversation::new(
        "fail_fast: any
gates: { first: { run: x }, second: { run: x, needs: first, blocking: false }, third: { run: x, needs: bad }, bad: { run: x } }",
    );
    run.begin();
    run.ended("first", Exited(0));
    assert_eq!(
        run.ended("bad", TimedOut),
        ["cancel second 1: stopped by fail_fast because `bad` ended timeout"]
    );
    // It was done before the order to stop reached it.
    assert_eq!(run.ended("second", Exited(0)), ["end timeout"]);
    assert_eq!(run.records()[3], "third: skip, 0: needs `bad`, which ended timeout");
}

#[test]
fn what_does_not_block_does_not_decide() {
    let file = |fail_fast: &str| {
        format!(
            "fail_fast: {fail_fast}\ngates: {{ soft: {{ run: x, blocking: false }}, hard: {{ run: x }} }}"
        )
    };
    for fail_fast in ["off", "blocking"] {
        let mut run = Conversation::new(&file(fail_fast));
        run.begin();
        assert_eq!(run.ended("soft", Exited(1)), NOTHING);
        assert_eq!(run.ended("hard", Exited(0)), ["end success"]);
    }
    let mut run = Conversation::new(&file("any"));
    run.begin();
    assert_eq!(
        run.ended("soft", Exited(1)),
        ["cancel hard 1: stopped by fail_fast because `soft` ended failure"]
    );
    assert_eq!(run.ended("hard", Signaled(15)), ["end failure"]);
}

#[test]
fn a_blocking_gate_that_could_not_run_is_not_green() {
    for fail_fast in ["off", "blocking", "any"] {
        let mut run = Conversation::new(&format!(
            "fail_fast: {fail_fast}\ngates: {{ soft: {{ run: x, blocking: false }}, hard: {{ run: x, needs: soft }} }}"
        ));
        run.begin();
        assert_eq!(run.ended("soft", Exited(1)), ["end failure"], "{fail_fast}");
        assert_eq!(run.records()[1], "hard: skip, 0: needs `soft`, which ended failure");
    }
}

#[test]
fn gates_that_decide_nothing_are_no_success() {
    let mut run = Conversation::new("gates: { soft: { run: x, blocking: false } }");
    run.begin();
    assert_eq!(run.ended("soft", Exited(0)), ["end skip"]);
}

#[test]
fn a_run_without_a_reason_is_a_skip() {
    let text =
        "environment: { setup: { run: x } }\ngates: { a: { run: x, when: { paths: [src/**] } } }";
    let mut run = Conversation { state: state_after(text, Some("README")), clock: 0 };
    assert_eq!(run.begin(), ["end skip"]);
    let no_path = "no changed file matches `when.paths` and `when.paths_ignore`";
    assert_eq!(run.records(), [format!("a: skip, 0: {no_path}")]);
    let record = run.state.gates[0].record().unwrap();
    assert_eq!(record.ended_at, Timestamp::from_micros(1));
}

#[test]
fn a_filtered_need_passes() {
    let text = "gates: { a: { run: x, when: { paths: [src/**] } }, b: { run: x, needs: a } }";
    let mut run = Conversation { state: state_after(text, Some("README")), clock: 0 };
    assert_eq!(run.begin(), ["start b 1"]);
    assert_eq!(run.ended("b", Exited(0)), ["end success"]);
}

#[test]
fn our_faults_and_theirs_are_retried_apart() {
    let mut run = Conversation::new("gates: { a: { run: x, retry: { infra: 2, gate: 1 } } }");
    run.begin();
    assert_eq!(run.ended("a", infra()), ["start a 2"]);
    assert_eq!(run.ended("a", Exited(1)), ["start a 3"]);
    assert_eq!(run.ended("a", infra()), ["start a 4"]);
    assert_eq!(run.ended("a", Exited(1)), ["end failure"]);
    assert_eq!(run.records(), ["a: failure, 4: exit code 1"]);

    let mut run = Conversation::new("gates: { a: { run: x } }");
    run.begin();
    assert_eq!(run.ended("a", infra()), ["start a 2"]);
    assert_eq!(run.ended("a", infra()), ["start a 3"]);
    assert_eq!(run.ended("a", infra()), ["end error"]);
    assert_eq!(run.records(), ["a: error, 3: could not be run: lost the machine (3 attempts)"]);

    let mut run = Conversation::new("gates: { a: { run: x, retry: { gate: 1 } } }");
    run.begin();
    assert_eq!(run.ended("a", TimedOut), ["start a 2"]);
    assert_eq!(run.ended("a", Exited(0)), ["end success"]);
    assert_eq!(run.records(), ["a: success, 2: -"]);
}

#[test]
fn a_setup_that_does_not_succeed_ends_the_run_with_its_result() {
    let text = "environment: { setup: { run: x } }\ndefaults: { timeout: 2m, retry: { infra: 1 } }\n\
                gates: { a: { run: x }, b: { run: x, needs: a, blocking: false } }";
    for (outcome, result, reason) in [
        (Exited(1), "failure", "the setup ended failure: exit code 1"),
        (TimedOut, "timeout", "the setup ended timeout: ran longer than its timeout of 2m"),
    ] {
        let mut run = Conversation::new(text);
        run.begin();
        assert_eq!(run.setup_ended(1, outcome), [format!("end {result}")]);
        assert_eq!(
            run.records(),
            [format!("a: skip, 0: {reason}"), format!("b: skip, 0: {reason}")]
        );
    }
    let mut run = Conversation::new(text);
    run.begin();
    assert_eq!(run.setup_ended(1, infra()), ["start setup 2"]);
    assert_eq!(run.setup_ended(1, infra()), NOTHING);
    assert_eq!(run.setup_ended(2, infra()), ["end error"]);
    let setup = run.state.setup.unwrap().record.unwrap();
    assert_eq!((setup.result, setup.attempts), (GateResult::Error, 2));
}

#[test]
fn cancelling_reaches_everything() {
    let text =
        "environment: { setup: { run: x } }\ngates: { a: { run: x }, b: { run: x, needs: a } }";
    let mut before = Conversation::new(text);
    assert_eq!(before.cancel(), ["end cancellation"]);
    assert_eq!(before.begin(), NOTHING);

    let mut during_setup = Conversation::new(text);
    during_setup.begin();
    assert_eq!(during_setup.cancel(), ["cancel setup: a newer head"]);
    assert_eq!(during_setup.cancel(), NOTHING);
    assert_eq!(during_setup.setup_ended(1, infra()), ["end cancellation"]);

    let mut during_gates = Conversation::new(text);
    during_gates.begin();
    during_gates.setup_ended(1, Exited(0));
    assert_eq!(during_gates.cancel(), ["cancel a 1: a newer head"]);
    assert_eq!(during_gates.ended("a", infra()), ["end cancellation"]);
    assert_eq!(
        during_gates.records(),
        ["a: cancellation, 1: a newer head", "b: cancellation, 0: a newer head"]
    );
    assert_eq!(during_gates.cancel(), NOTHING);

    let mut after_a_failure =
        Conversation::new("fail_fast: off\ngates: { a: { run: x }, b: { run: x } }");
    after_a_failure.begin();
    after_a_failure.ended("a", Exited(1));
    after_a_failure.cancel();
    assert_eq!(after_a_failure.ended("b", Exited(0)), ["end cancellation"]);
}

#[test]
fn the_worst_cause_of_the_blocking_gates_counts() {
    let cancelled = || Outcome::Cancelled { reason: "by hand".to_owned() };
    for (outcomes, result) in [
        ([Exited(0), Exited(1), Exited(0)], "failure"),
        ([Exited(1), TimedOut, Exited(0)], "timeout"),
        ([Exited(1), TimedOut, infra()], "error"),
        ([cancelled(), TimedOut, infra()], "cancellation"),
        ([Outcome::LimitBroken { limit: "pids".to_owned() }, Exited(0), Exited(0)], "failure"),
    ] {
        let mut run = Conversation::new(
            "fail_fast: off\ndefaults: { retry: { infra: 0 } }\n\
             gates: { a: { run: x }, b: { run: x }, c: { run: x }, d: { run: x, needs: [a, b, c] } }",
        );
        run.begin();
        let mut last = vec![];
        for (gate, outcome) in ["a", "b", "c"].into_iter().zip(outcomes) {
            last = run.ended(gate, outcome);
        }
        assert_eq!(last, [format!("end {result}")]);
    }
}

#[test]
fn times_are_kept() {
    let mut run = Conversation::new("gates: { a: { run: x } }");
    run.begin();
    let started = Input::GateStarted { gate: name("a"), attempt: 1 };
    run.tell(started.clone());
    run.tell(started);
    run.ended("a", Exited(0));
    let record = run.state.gates[0].record().unwrap();
    assert_eq!(record.started_at, Some(Timestamp::from_micros(2)));
    assert_eq!(record.ended_at, Timestamp::from_micros(4));
    assert_eq!(run.state.begun_at, Some(Timestamp::from_micros(1)));
    assert_eq!(run.state.ended_at, Some(Timestamp::from_micros(4)));
}

#[test]
fn impossible_inputs_are_named() {
    let mut run = Conversation::new("gates: { a: { run: x }, b: { run: x, needs: a } }");
    run.begin();
    let ended =
        |gate: &str, attempt| Input::GateEnded { gate: name(gate), attempt, outcome: Exited(0) };
    for (input, error) in [
        (ended("c", 1), "the run has no gate `c`"),
        (ended("b", 1), "gate `b` was not started"),
        (ended("a", 2), "attempt 2 of gate `a` was not started; the latest is 1"),
        (Input::SetupEnded { attempt: 1, outcome: Exited(0) }, "the setup was not started"),
    ] {
        let refused = decide(&run.state, input, Timestamp::from_micros(0)).unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
}
