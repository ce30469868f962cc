//! What a runner has for steps: from what the machine is to what it tells when it claims, and what shows among the metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sandgate_domain::Share;
use sandgate_engine::admission::Room;
use sandgate_wire::agent::v1 as agent;
use sandgate_wire::node::v1::MeasureReply;

/// How many steps there may be for each processor, if nobody says.
const SLOTS_EACH: u32 = 4;
/// The least memory that is kept for what is not a step, in bytes.
const LEAST_RESERVE: u64 = 512 << 20;

/// How much of a machine steps may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many steps there are at a time; none: four for each processor.
    pub slots: Option<u32>,
    /// How much processor time is promised of what there is, in percent: gates rarely use all that they may.
    pub cpu_overcommit_percent: u32,
    /// How much memory is promised, in bytes; none: what there is less a reserve.
    pub memory_bytes: Option<u64>,
}

impl Default for Limits {
    /// Twice the processors, and the memory less a tenth, at least 512 MiB.
    fn default() -> Self {
        Self { slots: None, cpu_overcommit_percent: 200, memory_bytes: None }
    }
}

impl Limits {
    /// What there is for steps on a machine that was measured so.
    pub(crate) fn room(&self, machine: &MeasureReply) -> Room {
        let processors = machine.processors.max(1);
        let reserve_bytes = (machine.memory_bytes / 10).max(LEAST_RESERVE);
        let spare = machine.memory_bytes.saturating_sub(reserve_bytes);
        Room {
            slots: self.slots.unwrap_or(processors.saturating_mul(SLOTS_EACH)).max(1),
            share: Share {
                cpu_millis: u64::from(processors) * 10 * u64::from(self.cpu_overcommit_percent),
                memory_bytes: self.memory_bytes.unwrap_or(spare),
            },
            available_bytes: machine.memory_available_bytes,
            reserve_bytes,
        }
    }
}

/// The message of it.
pub(crate) fn message(room: &Room) -> agent::Room {
    agent::Room {
        slots: room.slots,
        cpu_millis: room.share.cpu_millis,
        memory_bytes: room.share.memory_bytes,
        available_bytes: room.available_bytes,
        reserve_bytes: room.reserve_bytes,
    }
}

/// What was measured last, and what steps under way have of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    last: Arc<Mutex<Share>>,
    slots: Gauge,
    cpu: Gauge,
    memory: Gauge,
    available: Gauge,
    steps: Gauge,
    cpu_held: Gauge,
    memory_held: Gauge,
}

/// What one step has, for as long as this is kept.
pub(crate) struct Promised {
    gauges: Gauges,
    share: Share,
}

impl Gauges {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            ("slots", "How many steps there may be at a time", &self.slots),
            ("capacity_cpu_millis", "Thousandths of a processor for steps", &self.cpu),
            ("capacity_memory_bytes", "Memory for steps", &self.memory),
            ("available_memory_bytes", "Memory that the machine had left last", &self.available),
            ("steps", "Steps under way", &self.steps),
            ("held_cpu_millis", "Thousandths of a processor that steps asked for", &self.cpu_held),
            ("held_memory_bytes", "Memory that steps under way asked for", &self.memory_held),
        ] {
            registry.register(format!("sandgate_gate_runner_{name}"), help, gauge.clone());
        }
    }

    pub(crate) fn measured(&self, room: &Room) {
        let before = std::mem::replace(&mut *self.lock(), room.share);
        if before != room.share {
            let Share { cpu_millis, memory_bytes } = room.share;
            tracing::info!(
                room.slots,
                room.cpu_millis = cpu_millis,
                room.memory_bytes = memory_bytes,
                "what there is for steps"
            );
        }
        self.slots.set(i64::from(room.slots));
        self.cpu.set(whole(room.share.cpu_millis));
        self.memory.set(whole(room.share.memory_bytes));
        self.available.set(whole(room.available_bytes));
    }

    /// What there was for steps when it was measured last.
    pub(crate) fn share(&self) -> Share {
        *self.lock()
    }

    pub(crate) fn promise(&self, share: Share) -> Promised {
        self.steps.inc();
        self.cpu_held.inc_by(whole(share.cpu_millis));
        self.memory_held.inc_by(whole(share.memory_bytes));
        Promised { gauges: self.clone(), share }
    }

    fn lock(&self) -> MutexGuard<'_, Share> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        self.gauges.steps.dec();
        self.gauges.cpu_held.dec_by(whole(self.share.cpu_millis));
        self.gauges.memory_held.dec_by(whole(self.share.memory_bytes));
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_there_is_follows_from_the_machine_and_what_was_set() {
        let set = |slots, cpu_overcommit_percent, memory_bytes| Limits {
            slots,
            cpu_overcommit_percent,
            memory_bytes,
        };
        for (limits, processors, memory, slots, cpu, share, reserve) in [
            (Limits::default(), 4, 20 * GIB, 16, 8000, 18 * GIB, 2 * GIB),
            (Limits::default(), 1, 2 * GIB, 4, 2000, 2 * GIB - (512 << 20), 512 << 20),
            (Limits::default(), 0, 100 << 20, 4, 2000, 0, 512 << 20),
            (set(Some(3), 150, Some(GIB)), 4, 20 * GIB, 3, 6000, GIB, 2 * GIB),
            (set(Some(0), 10, None), 2, 20 * GIB, 1, 200, 18 * GIB, 2 * GIB),
        ] {
            let machine =
                MeasureReply { processors, memory_bytes: memory, memory_available_bytes: 7 };
            let share = Share { cpu_millis: cpu, memory_bytes: share };
            let expected = Room { slots, share, available_bytes: 7, reserve_bytes: reserve };
            assert_eq!(limits.room(&machine), expected, "{limits:?}");
        }
    }

    #[test]
    fn what_is_held_shows_until_it_is_let_go() {
        let (gauges, mut registry) = (Gauges::default(), Registry::default());
        gauges.register(&mut registry);
        let shown = |line: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            assert!(text.contains(&format!("\nsandgate_gate_runner_{line}\n")), "{text}");
        };
        let held = gauges.promise(Share { cpu_millis: 500, memory_bytes: 9 });
        shown("held_cpu_millis 500");
        shown("held_memory_bytes 9");
        shown("steps 1");
        drop(held);
        shown("held_memory_bytes 0");
        shown("steps 0");
    }
}
