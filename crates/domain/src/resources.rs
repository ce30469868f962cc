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
