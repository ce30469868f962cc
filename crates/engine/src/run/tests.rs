//! The state machine of a run: tables, and properties over random runs.

use std::collections::BTreeMap;

use super::*;
use crate::config::parse;
use crate::plan::{PlanInput, plan};

mod cases;
mod properties;

fn name(text: &str) -> GateName {
    text.parse().unwrap()
}

/// The run of a file, without filters.
fn state(text: &str) -> RunState {
    state_after(text, None)
}

/// The run of a file after changes of one path.
fn state_after(text: &str, changed: Option<&str>) -> RunState {
    let config = parse(&format!("version: 1\n{text}"), "f").unwrap().config;
    let changed_paths = changed.map(|path| vec![path.to_owned()]);
    RunState::new(&plan(&config, &PlanInput { changed_paths, ..PlanInput::default() }).unwrap())
}

/// A run that is told what happened, one line an input, and answers one line an effect.
struct Conversation {
    state: RunState,
    clock: i64,
}

impl Conversation {
    fn new(text: &str) -> Self {
        Self { state: state(text), clock: 0 }
    }

    fn tell(&mut self, input: Input) -> Vec<String> {
        self.clock += 1;
        let now = Timestamp::from_micros(self.clock);
        let (state, effects) = decide(&self.state, input, now).unwrap();
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<RunState>(&json).unwrap(), state, "survives storage");
        self.state = state;
        effects.iter().map(line).collect()
    }

    fn begin(&mut self) -> Vec<String> {
        self.tell(Input::Begin)
    }

    fn ended(&mut self, gate: &str, outcome: Outcome) -> Vec<String> {
        let attempt = match &self.state.gate(&name(gate)).unwrap().status {
            GateStatus::Running(attempt) => attempt.number,
            GateStatus::Waiting | GateStatus::Ended(_) => panic!("`{gate}` does not run"),
        };
        self.tell(Input::GateEnded { gate: name(gate), attempt, outcome })
    }

    fn setup_ended(&mut self, attempt: u32, outcome: Outcome) -> Vec<String> {
        self.tell(Input::SetupEnded { attempt, outcome })
    }

    fn cancel(&mut self) -> Vec<String> {
        self.tell(Input::Cancel { reason: "a newer head".to_owned() })
    }

    /// `gate: result, attempts: reason` for every gate that has ended.
    fn records(&self) -> Vec<String> {
        let line = |gate: &GateState| {
            let record = gate.record()?;
            let reason = record.reason.as_deref().unwrap_or("-");
            Some(format!("{}: {}, {}: {reason}", gate.name, record.result, record.attempts))
        };
        self.state.gates.iter().filter_map(line).collect()
    }
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::StartSetup { attempt } => format!("start setup {attempt}"),
        Effect::CancelSetup { reason } => format!("cancel setup: {reason}"),
        Effect::StartGate { gate, attempt, from: None } => format!("start {gate} {attempt}"),
        Effect::StartGate { gate, attempt, from: Some(from) } => {
            format!("start {gate} {attempt} from {from}")
        }
        Effect::CancelGate { gate, attempt, reason } => {
            format!("cancel {gate} {attempt}: {reason}")
        }
        Effect::EndRun { result } => format!("end {result}"),
    }
}

fn infra() -> Outcome {
    Outcome::Infra { reason: "lost the machine".to_owned() }
}
