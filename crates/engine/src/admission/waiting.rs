//! Why a step has not begun, for people: all texts are here.

use std::fmt;

use sandgate_domain::Share;

use super::{Need, Shortage};

/// Why a step has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// It needs steps that have not ended.
    For(&'a [&'a str]),
    /// Nobody is there who would run it.
    NoRunner,
    /// So many steps are older.
    Behind(usize),
    /// It is the oldest, and there is too little of something.
    Short(Shortage),
    /// It is the oldest, and there is room.
    Next,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For([]) => formatter.write_str("waits for the steps before it"),
            Self::For([only]) => write!(formatter, "waits for {only}"),
            Self::For([first @ .., last]) => {
                write!(formatter, "waits for {} and {last}", first.join(", "))
            }
            Self::NoRunner => formatter.write_str("no runner is serving"),
            Self::Behind(1) => formatter.write_str("waits behind 1 step"),
            Self::Behind(count) => write!(formatter, "waits behind {count} steps"),
            Self::Short(shortage) => write!(formatter, "waits for {shortage}"),
            Self::Next => formatter.write_str("starts next"),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots { used, slots } => {
                write!(formatter, "a free slot: {used} of {slots} in use")
            }
            Self::Cpu(need) => need.write(formatter, "cpu", &processors),
            Self::Memory(need) => need.write(formatter, "memory", &size),
            Self::Machine { available_bytes, reserve_bytes } => write!(
                formatter,
                "memory: the machine has {} left, and below {} nothing starts beside other steps",
                size(*available_bytes),
                size(*reserve_bytes)
            ),
        }
    }
}

impl Need {
    fn write(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        what: &str,
        show: &dyn Fn(u64) -> String,
    ) -> fmt::Result {
        let (asks, all) = (show(self.asks), show(self.all));
        if self.asks > self.all {
            let steps = self.steps;
            let verb = if steps == 1 { "step is" } else { "steps are" };
            return write!(
                formatter,
                "{what}: it asks for {asks} of {all}, so it runs alone, and {steps} {verb} under way"
            );
        }
        // "1.3 of 20.7 GiB": the unit is that of the whole.
        let free = self.free_beside_all(show);
        write!(formatter, "{what}: it asks for {asks}, {free} are free")
    }

    fn free_beside_all(&self, show: &dyn Fn(u64) -> String) -> String {
        let (free, all) = (show(self.free), show(self.all));
        match (free.split_once(' '), all.split_once(' ')) {
            (Some((number, unit)), Some((_, whole))) if unit == whole => {
                format!("{number} of {all}")
            }
            _ => format!("{free} of {all}"),
        }
    }
}

/// That a step asks for more than there is, and so runs alone.
pub(super) fn alone(asks: Share, room: Share) -> Option<String> {
    let cpu = (asks.cpu_millis > room.cpu_millis)
        .then(|| format!("cpu {} of {}", processors(asks.cpu_millis), processors(room.cpu_millis)));
    let memory = (asks.memory_bytes > room.memory_bytes)
        .then(|| format!("memory {} of {}", size(asks.memory_bytes), size(room.memory_bytes)));
    let asked: Vec<String> = cpu.into_iter().chain(memory).collect();
    let asked = (!asked.is_empty()).then(|| asked.join(" and "))?;
    Some(format!("it ran alone, as it asks for more than there is: {asked}"))
}

/// Thousandths of a processor as processors: `0.5`, `2`.
fn processors(millis: u64) -> String {
    let (whole, rest) = (millis / 1000, millis % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:03}").trim_end_matches('0').to_owned()
}

/// Bytes with one decimal, rounded down: `1.3 GiB`, `512 MiB`, `0 MiB`.
fn size(bytes: u64) -> String {
    let (unit, shift) = if bytes >= 1 << 30 { ("GiB", 30) } else { ("MiB", 20) };
    let (whole, rest) = (bytes >> shift, bytes & ((1 << shift) - 1));
    match (rest * 10) >> shift {
        0 => format!("{whole} {unit}"),
        tenth => format!("{whole}.{tenth} {unit}"),
    }
}
