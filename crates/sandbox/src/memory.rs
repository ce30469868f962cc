//! How much memory this machine has, or the control group that limits us, and how much of it is left now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::own_memory_groups;

/// The memory that this process and all that it starts may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What there is, in bytes: of the machine, or of the narrowest control group that we are in.
    pub total_bytes: u64,
    /// What can be had now without anything being swapped out or killed, in bytes.
    pub available_bytes: u64,
}

impl Memory {
    /// Reads it from the kernel. Groups that tell nothing limit nothing.
    ///
    /// # Errors
    /// If `/proc/meminfo` can't be read, or does not say.
    pub fn measure() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no sizes");
        let machine = Self::of_machine(&text).ok_or_else(unknown)?;
        Ok(own_memory_groups().filter_map(|group| Group::read(&group)).fold(machine, Self::within))
    }

    /// From the text of `/proc/meminfo`.
    fn of_machine(text: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kibibytes: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Some(Self { total_bytes: bytes("MemTotal")?, available_bytes: bytes("MemAvailable")? })
    }

    /// The same within a group: never more than there was.
    fn within(self, group: Group) -> Self {
        // Pages of files that were not used for long are given back before anything else.
        let used = group.used_bytes.saturating_sub(group.idle_file_bytes);
        Self {
            total_bytes: self.total_bytes.min(group.limit_bytes),
            available_bytes: self.available_bytes.min(group.limit_bytes.saturating_sub(used)),
        }
    }
}

/// What a control group says of its memory.
#[derive(Debug, Clone, Copy)]
struct Group {
    limit_bytes: u64,
    used_bytes: u64,
    idle_file_bytes: u64,
}

impl Group {
    /// None if it has no limit. The names of both versions are tried, as no directory has those of both.
    fn read(directory: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let number = |names: [&str; 2]| -> Option<u64> {
            names.into_iter().find_map(text)?.trim().parse().ok()
        };
        let statistics = text("memory.stat").unwrap_or_default();
        let idle = statistics.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            matches!(name, "inactive_file" | "total_inactive_file").then(|| value.parse().ok())?
        });
        Some(Self {
            // The word `max` is no number, and no limit.
            limit_bytes: number(["memory.max", "memory.limit_in_bytes"])?,
            used_bytes: number(["memory.current", "memory.usage_in_bytes"])?,
            idle_file_bytes: idle.unwrap_or(0),
        })
    }
}

/// A directory and those above it, up to the first that is no group.
pub(crate) fn upwards(own: PathBuf) -> impl Iterator<Item = PathBuf> {
    let is_group = |directory: &PathBuf| directory.join("cgroup.procs").exists();
    std::iter::successors(Some(own), |below| below.parent().map(Path::to_path_buf))
        .take_while(is_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_has_not_more_left_than_it_has() {
        let memory = Memory::measure().unwrap();
        assert!(memory.total_bytes > 16 << 20, "{memory:?}");
        assert!((1..=memory.total_bytes).contains(&memory.available_bytes), "{memory:?}");
    }

    #[test]
    fn sizes_are_read_or_it_is_said_that_they_are_not_there() {
        let text = "MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n";
        let memory = Memory { total_bytes: 2 << 20, available_bytes: 1 << 20 };
        assert_eq!(Memory::of_machine(text), Some(memory));
        for text in ["", "MemTotal: 1 kB\n", "MemTotal: 1\nMemAvailable: 1\n", "MemTotal: é kB\n"]
        {
            assert_eq!(Memory::of_machine(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_narrowest_group_counts_and_idle_files_are_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let write = |at: &Path, name: &str, text: &str| fs::write(at.join(name), text).unwrap();
        for at in [&outer, &inner] {
            write(at, "cgroup.procs", "");
        }
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.current", "5\n");
        write(&outer, "memory.limit_in_bytes", "1000\n");
        write(&outer, "memory.usage_in_bytes", "700\n");
        write(&outer, "memory.stat", "cache 3\ntotal_inactive_file 200\n");
        let machine = Memory { total_bytes: 4000, available_bytes: 900 };
        let groups: Vec<PathBuf> = upwards(inner.clone()).collect();
        assert_eq!(groups, [inner, outer.clone()]);
        let found =
            groups.iter().filter_map(|group| Group::read(group)).fold(machine, Memory::within);
        assert_eq!(found, Memory { total_bytes: 1000, available_bytes: 500 });
        write(&outer, "memory.usage_in_bytes", "5000\n");
        let full = Group::read(&outer).map(|group| machine.within(group)).unwrap();
        assert_eq!(full.available_bytes, 0);
        write(&outer, "memory.limit_in_bytes", "9223372036854771712\n");
        write(&outer, "memory.usage_in_bytes", "5\n");
        let wide = Group::read(&outer).map(|group| machine.within(group)).unwrap();
        assert_eq!(wide, machine);
    }
}
