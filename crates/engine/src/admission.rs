//! Which step may start: those that fit beside what is under way, in the order in which they came.
//!
//! Only the oldest step is ever looked at, so that a large one is not passed by small ones for as long as they keep coming.
//! A step that asks for more than there is runs alone: with nothing under way everything may start, so nothing waits for
//! ever.

mod waiting;

use sandgate_domain::{Share, StepKind};

use crate::plan::Plan;

pub use waiting::Waiting;

/// What a runner has for steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How many steps it works on at a time, at least one.
    pub slots: u32,
    /// What there is for steps altogether.
    pub share: Share,
    /// How much memory the machine had left when it was measured, in bytes.
    pub available_bytes: u64,
    /// How much of it is kept for what is not a step, in bytes: with less left, no step starts beside others.
    pub reserve_bytes: u64,
}

/// What has been handed out and has not ended. Ends of runs ask for nothing and are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Steps of the runner that asks.
    pub own: u32,
    /// Steps of all runners of the machine.
    pub steps: u32,
    /// What all of them asked for.
    pub share: Share,
}

/// Why a step may not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// The runner works on as many steps as it may.
    Slots {
        /// How many those are.
        used: u32,
        /// How many there may be.
        slots: u32,
    },
    /// In thousandths of a processor.
    Cpu(Need),
    /// In bytes.
    Memory(Need),
    /// What is under way, or another program, has taken the memory of the machine.
    Machine {
        /// What is left, in bytes.
        available_bytes: u64,
        /// With less than this nothing more starts.
        reserve_bytes: u64,
    },
}

/// What is asked for, beside what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What the step asks for.
    pub asks: u64,
    /// What nobody has.
    pub free: u64,
    /// What there is altogether.
    pub all: u64,
    /// How many steps are under way.
    pub steps: u32,
}

/// Whether the oldest step may start beside what is under way.
///
/// # Errors
/// What there is too little of.
pub fn admit(asks: Share, room: &Room, under_way: &UnderWay) -> Result<(), Shortage> {
    if under_way.own > 0 && under_way.own >= room.slots {
        return Err(Shortage::Slots { used: under_way.own, slots: room.slots });
    }
    if under_way.steps == 0 {
        return Ok(());
    }
    let (free, wanted) = (room.share.minus(under_way.share), under_way.share.plus(asks));
    let need = |asks, free, all| Need { asks, free, all, steps: under_way.steps };
    if wanted.cpu_millis > room.share.cpu_millis {
        let need = need(asks.cpu_millis, free.cpu_millis, room.share.cpu_millis);
        return Err(Shortage::Cpu(need));
    }
    if wanted.memory_bytes > room.share.memory_bytes {
        let need = need(asks.memory_bytes, free.memory_bytes, room.share.memory_bytes);
        return Err(Shortage::Memory(need));
    }
    if room.available_bytes < room.reserve_bytes {
        let Room { available_bytes, reserve_bytes, .. } = *room;
        return Err(Shortage::Machine { available_bytes, reserve_bytes });
    }
    Ok(())
}

impl Room {
    /// What is known of it after a step was handed out that has not taken its memory yet.
    #[must_use]
    pub fn after(self, asks: Share) -> Self {
        Self { available_bytes: self.available_bytes.saturating_sub(asks.memory_bytes), ..self }
    }
}

impl UnderWay {
    /// With one more step of the runner that asks.
    #[must_use]
    pub fn with(self, asks: Share) -> Self {
        Self {
            own: self.own.saturating_add(1),
            steps: self.steps.saturating_add(1),
            share: self.share.plus(asks),
        }
    }
}

/// What a step asks for. The end of a run asks for nothing.
pub fn asks(plan: &Plan, kind: StepKind, name: &str) -> Share {
    let limits = match kind {
        StepKind::Setup => plan.environment.setup.as_ref().map(|setup| setup.resources),
        StepKind::Gate => {
            let gate = plan.gates.iter().find(|gate| gate.name.as_str() == name);
            gate.map(|gate| gate.resources)
        }
        StepKind::Close => None,
    };
    limits.map_or_else(Share::default, Share::from)
}

/// What a step is told that asks for more than there is: it has run alone.
pub fn remark(asks: Share, room: Share) -> Option<String> {
    waiting::alone(asks, room)
}

#[cfg(test)]
mod tests;
