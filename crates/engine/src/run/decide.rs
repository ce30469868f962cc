//! The transitions.

use std::time::Duration;

use sandgate_domain::{GateResult, Timestamp};

use super::judge::{Judgement, Outcome, RetryBudget, judge};
use super::verdict::verdict;
use super::{
    Attempt, Cause, DecideError, Effect, GateState, GateStatus, Input, Phase, Record, RunState,
    Stopping,
};
use crate::config::{FailFast, printable};
use crate::name::GateName;

/// The next state and what has to be done, after one input.
///
/// # Errors
/// An input that cannot happen in this state. Repeated and late inputs are no errors; they change nothing.
pub fn decide(
    state: &RunState,
    input: Input,
    now: Timestamp,
) -> Result<(RunState, Vec<Effect>), DecideError> {
    let mut step = Step { state: state.clone(), effects: Vec::new(), now };
    match input {
        Input::Begin => step.begin(),
        Input::SetupEnded { attempt, outcome } => step.setup_ended(attempt, &outcome)?,
        Input::GateStarted { gate, attempt } => step.gate_started(&gate, attempt)?,
        Input::GateEnded { gate, attempt, outcome } => step.gate_ended(&gate, attempt, &outcome)?,
        Input::Cancel { reason } => step.cancel(&reason),
    }
    step.settle();
    Ok((step.state, step.effects))
}

struct Step {
    state: RunState,
    effects: Vec<Effect>,
    now: Timestamp,
}

impl Step {
    fn begin(&mut self) {
        if self.state.phase != Phase::Planned {
            return;
        }
        self.open();
        let is_waiting = |gate: &GateState| matches!(gate.status, GateStatus::Waiting);
        if self.state.setup.is_some() && self.state.gates.iter().any(is_waiting) {
            self.state.phase = Phase::Setup { attempt: 1 };
            self.effects.push(Effect::StartSetup { attempt: 1 });
        } else {
            self.state.phase = Phase::Gates;
        }
    }

    /// From here on the run has a begin, and so have the records of its filtered gates.
    fn open(&mut self) {
        self.state.begun_at = Some(self.now);
        for gate in &mut self.state.gates {
            if let GateStatus::Ended(record) = &mut gate.status {
                record.ended_at = self.now;
            }
        }
    }

    fn setup_ended(&mut self, attempt: u32, outcome: &Outcome) -> Result<(), DecideError> {
        let Some(setup) = &self.state.setup else { return Err(DecideError::SetupNotStarted) };
        let latest = match self.state.phase {
            Phase::Planned => return Err(DecideError::SetupNotStarted),
            Phase::Setup { attempt } => attempt,
            Phase::Gates | Phase::Ended { .. } => return Ok(()),
        };
        check_attempt("the setup", attempt, latest)?;
        if attempt < latest {
            return Ok(());
        }
        let judgement = judge(outcome, Duration::from_millis(setup.timeout_ms));
        let may_retry = judgement.retry == RetryBudget::Infra && latest <= setup.infra_retries;
        if may_retry && self.state.cancelled.is_none() {
            self.state.phase = Phase::Setup { attempt: latest + 1 };
            self.effects.push(Effect::StartSetup { attempt: latest + 1 });
            return Ok(());
        }
        let record = self.own_record(judgement, latest, None);
        if record.result != GateResult::Success {
            let why = record.reason.as_deref().unwrap_or_default();
            let reason = format!("the setup ended {}: {why}", record.result);
            self.end_waiting(GateResult::Skip, &reason, &Cause::Setup);
        }
        if let Some(setup) = &mut self.state.setup {
            setup.record = Some(record);
        }
        self.state.phase = Phase::Gates;
        Ok(())
    }

    fn gate_started(&mut self, name: &GateName, attempt: u32) -> Result<(), DecideError> {
        let now = self.now;
        let Some(running) = self.running(name, attempt)? else { return Ok(()) };
        running.started_at.get_or_insert(now);
        Ok(())
    }

    fn gate_ended(
        &mut self,
        name: &GateName,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<(), DecideError> {
        let Some(running) = self.running(name, attempt)?.cloned() else { return Ok(()) };
        let index = self.index(name)?;
        let gate = &self.state.gates[index];
        let judgement = judge(outcome, Duration::from_millis(gate.timeout_ms));
        let record = match &running.stopping {
            // It was faster than the order to stop.
            Some(_) if judgement.result == GateResult::Success => {
                self.own_record(judgement, attempt, running.started_at)
            }
            Some(stopping) => Record {
                result: GateResult::Cancellation,
                reason: Some(stopping.reason.clone()),
                cause: stopping.cause.clone(),
                ..self.own_record(judgement, attempt, running.started_at)
            },
            None => match self.next_attempt(gate, &running, &judgement) {
                Some(next) => {
                    let effect = start(gate, next.number);
                    self.effects.push(effect);
                    self.state.gates[index].status = GateStatus::Running(next);
                    return Ok(());
                }
                None => self.own_record(judgement, attempt, running.started_at),
            },
        };
        self.state.gates[index].status = GateStatus::Ended(record);
        Ok(())
    }

    /// The attempt after `running`, if there are retries left for how it ended.
    fn next_attempt(
        &self,
        gate: &GateState,
        running: &Attempt,
        judgement: &Judgement,
    ) -> Option<Attempt> {
        let own_faults = running.number - 1 - running.infra_faults;
        let infra_faults = match judgement.retry {
            RetryBudget::Infra if running.infra_faults < gate.infra_retries => {
                running.infra_faults + 1
            }
            RetryBudget::Gate if own_faults < gate.gate_retries => running.infra_faults,
            RetryBudget::Final | RetryBudget::Infra | RetryBudget::Gate => return None,
        };
        Some(Attempt { number: running.number + 1, infra_faults, ..running.clone() })
    }

    fn cancel(&mut self, reason: &str) {
        let is_over = matches!(self.state.phase, Phase::Ended { .. });
        if is_over || self.state.cancelled.is_some() {
            return;
        }
        let reason = printable(reason, 500);
        self.state.cancelled = Some(reason.clone());
        self.end_waiting(GateResult::Cancellation, &reason, &Cause::Cancelled);
        self.stop_running(&reason, &Cause::Cancelled);
        match self.state.phase {
            Phase::Setup { .. } => self.effects.push(Effect::CancelSetup { reason }),
            Phase::Planned => {
                self.open();
                self.state.phase = Phase::Gates;
            }
            Phase::Gates | Phase::Ended { .. } => {}
        }
    }

    /// Starts and skips what can be, stops what must be, and ends the run when nothing is left.
    fn settle(&mut self) {
        if self.state.phase != Phase::Gates {
            return;
        }
        // What just ended may stop everything, so it is looked at before anything is started.
        for index in 0..self.state.gates.len() {
            self.fail_fast(index);
        }
        // In the order of the plan, so that a skip reaches all that need it in one pass.
        for index in 0..self.state.gates.len() {
            self.advance(index);
            self.fail_fast(index);
        }
        if self.state.gates.iter().all(|gate| gate.record().is_some()) {
            let result = verdict(&self.state);
            self.state.phase = Phase::Ended { result };
            self.state.ended_at = Some(self.now);
            self.effects.push(Effect::EndRun { result });
        }
    }

    /// Starts or skips a waiting gate if all it needs has ended.
    fn advance(&mut self, index: usize) {
        let gate = &self.state.gates[index];
        if !matches!(gate.status, GateStatus::Waiting) {
            return;
        }
        let needs: Option<Vec<&GateState>> = gate
            .needs
            .iter()
            .map(|need| self.state.gate(need).filter(|need| need.record().is_some()))
            .collect();
        let Some(needs) = needs else { return };
        let failed = needs.into_iter().find(|need| !passes(need));
        let (status, effect) = match failed {
            None => {
                let first =
                    Attempt { number: 1, infra_faults: 0, started_at: None, stopping: None };
                (GateStatus::Running(first), Some(start(gate, 1)))
            }
            Some(need) => (GateStatus::Ended(self.skip_for(need)), None),
        };
        self.state.gates[index].status = status;
        self.effects.extend(effect);
    }

    fn skip_for(&self, need: &GateState) -> Record {
        let root = self.root(need);
        let result = root.record().map_or(GateResult::Error, |record| record.result);
        let reason = if root.name == need.name {
            format!("needs `{}`, which ended {result}", need.name)
        } else {
            format!(
                "needs `{}`, which did not run because `{}` ended {result}",
                need.name, root.name
            )
        };
        let cause = Cause::Needs { gate: need.name.clone() };
        self.never_run(GateResult::Skip, &reason, &cause)
    }

    /// The gate whose own result is behind that of `gate`.
    fn root<'s>(&'s self, gate: &'s GateState) -> &'s GateState {
        let mut root = gate;
        // Each step goes to an earlier gate of the plan, so this ends.
        while let Some(Cause::Needs { gate: next }) = root.record().map(|record| &record.cause)
            && let Some(next) = self.state.gate(next)
        {
            root = next;
        }
        root
    }

    /// Stops everything if the end of this gate is a reason to.
    fn fail_fast(&mut self, index: usize) {
        let gate = &self.state.gates[index];
        let counts = match self.state.fail_fast {
            FailFast::Off => false,
            FailFast::Blocking => gate.blocking,
            FailFast::Any => true,
        };
        let is_stopped = self.state.stopped_by.is_some() || self.state.cancelled.is_some();
        if is_stopped || !counts || gate.record().is_none() || passes(gate) {
            return;
        }
        let root = self.root(gate);
        let result = root.record().map_or(GateResult::Error, |record| record.result);
        let reason = format!("stopped by fail_fast because `{}` ended {result}", root.name);
        let name = root.name.clone();
        self.state.stopped_by = Some(name.clone());
        let cause = Cause::FailFast { gate: name };
        for waiting in 0..self.state.gates.len() {
            if !matches!(self.state.gates[waiting].status, GateStatus::Waiting) {
                continue;
            }
            let needs = self.state.gates[waiting].needs.iter();
            let failed = needs.filter_map(|need| self.state.gate(need)).find(|need| {
                let is_stopped = |record: &Record| matches!(record.cause, Cause::FailFast { .. });
                need.record().is_some_and(|record| !is_stopped(record)) && !passes(need)
            });
            let record = match failed {
                Some(need) => self.skip_for(need),
                None => self.never_run(GateResult::Cancellation, &reason, &cause),
            };
            self.state.gates[waiting].status = GateStatus::Ended(record);
        }
        self.stop_running(&reason, &cause);
    }

    fn end_waiting(&mut self, result: GateResult, reason: &str, cause: &Cause) {
        let record = self.never_run(result, reason, cause);
        for gate in &mut self.state.gates {
            if matches!(gate.status, GateStatus::Waiting) {
                gate.status = GateStatus::Ended(record.clone());
            }
        }
    }

    fn stop_running(&mut self, reason: &str, cause: &Cause) {
        for gate in &mut self.state.gates {
            let GateStatus::Running(attempt) = &mut gate.status else { continue };
            if attempt.stopping.is_some() {
                continue;
            }
            attempt.stopping = Some(Stopping { reason: reason.to_owned(), cause: cause.clone() });
            self.effects.push(Effect::CancelGate {
                gate: gate.name.clone(),
                attempt: attempt.number,
                reason: reason.to_owned(),
            });
        }
    }

    fn index(&self, name: &GateName) -> Result<usize, DecideError> {
        let found = self.state.gates.iter().position(|gate| gate.name == *name);
        found.ok_or_else(|| DecideError::UnknownGate { gate: name.clone() })
    }

    /// The running attempt that is meant; none if it is over.
    fn running(
        &mut self,
        name: &GateName,
        attempt: u32,
    ) -> Result<Option<&mut Attempt>, DecideError> {
        let index = self.index(name)?;
        match &mut self.state.gates[index].status {
            GateStatus::Waiting => Err(DecideError::GateNotStarted { gate: name.clone() }),
            GateStatus::Running(running) => {
                check_attempt(&format!("gate `{name}`"), attempt, running.number)?;
                Ok(Some(running).filter(|running| running.number == attempt))
            }
            GateStatus::Ended(record) => {
                check_attempt(&format!("gate `{name}`"), attempt, record.attempts)?;
                Ok(None)
            }
        }
    }

    fn own_record(
        &self,
        judgement: Judgement,
        attempts: u32,
        started_at: Option<Timestamp>,
    ) -> Record {
        let is_ours = judgement.result == GateResult::Error && attempts > 1;
        let reason = match judgement.reason {
            Some(reason) if is_ours => Some(format!("{reason} ({attempts} attempts)")),
            other => other,
        };
        let is_cancelled = judgement.result == GateResult::Cancellation;
        Record {
            result: judgement.result,
            reason,
            cause: if is_cancelled { Cause::Cancelled } else { Cause::Own },
            attempts,
            exit_code: judgement.exit_code,
            signal: judgement.signal,
            started_at,
            ended_at: self.now,
        }
    }

    fn never_run(&self, result: GateResult, reason: &str, cause: &Cause) -> Record {
        Record {
            result,
            reason: Some(reason.to_owned()),
            cause: cause.clone(),
            attempts: 0,
            exit_code: None,
            signal: None,
            started_at: None,
            ended_at: self.now,
        }
    }
}

fn start(gate: &GateState, attempt: u32) -> Effect {
    Effect::StartGate { gate: gate.name.clone(), attempt, from: gate.from.clone() }
}

fn passes(gate: &GateState) -> bool {
    gate.record().is_some_and(Record::passes)
}

fn check_attempt(what: &str, attempt: u32, latest: u32) -> Result<(), DecideError> {
    if attempt > latest {
        return Err(DecideError::AttemptNotStarted { what: what.to_owned(), attempt, latest });
    }
    Ok(())
}
