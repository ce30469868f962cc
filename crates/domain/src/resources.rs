//! What a sandbox may use at most.

use serde::{Deserialize, Serialize};

/// The limits of one sandbox. Which of them can be held is a matter of the machine and is reported with every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Processor time, in thousandths of a processor (2000 = two processors).
    pub cpu_millis: u32,
    /// Memory, page cache and tmpfs included, in bytes.
    pub memory_bytes: u64,
    /// Bytes that may be written below the root.
    pub disk_bytes: u64,
    /// Files and directories that may be made below the root.
    pub disk_inodes: u64,
    /// Processes and threads.
    pub pids: u32,
}

impl Default for Resources {
    /// `cpu: 2, memory: 4Gi, disk: 10Gi, pids: 4096`, one million inodes.
    fn default() -> Self {
        Self {
            cpu_millis: 2000,
            memory_bytes: 4 << 30,
            disk_bytes: 10 << 30,
            disk_inodes: 1_000_000,
            pids: 4096,
        }
    }
}

/// A part of a machine: what a step asks for, or what there is. Disk and processes are not shared out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Share {
    /// Processor time, in thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

impl Share {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// What is left without the other; nothing where that is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }
}

impl From<Resources> for Share {
    fn from(limits: Resources) -> Self {
        Self { cpu_millis: u64::from(limits.cpu_millis), memory_bytes: limits.memory_bytes }
    }
}
