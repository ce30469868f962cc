//! What of sandboxes is left on the host: processes, mounts, control groups, directories.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders below a data folder that are empty while no sandbox lives.
const EMPTY_AT_REST: [&str; 2] = ["node/store/scratch", "node/sandboxes"];
/// The folder of finished layers, below a data folder.
const LAYERS: &str = "node/store/layers";

/// What was found. Each entry says where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Processes inside sandboxes, and outer halves whose program is gone.
    pub processes: Vec<String>,
    /// Mounts below the folder.
    pub mounts: Vec<String>,
    /// Control groups of the given processes.
    pub groups: Vec<PathBuf>,
    /// Directories that no sandbox needs any more, and half made or half removed layers.
    pub folders: Vec<PathBuf>,
}

impl Remains {
    /// Looks for what sandboxes of the programs `started`, over the data folder `data`, left. Everything of theirs is below
    /// `root`.
    pub fn find(root: &Path, data: &Path, started: &[u32]) -> Self {
        let mut processes = processes_inside(root);
        processes.extend(orphans());
        let empty = EMPTY_AT_REST.iter().flat_map(|folder| entries(&data.join(folder)));
        let is_temporary = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
        };
        let unfinished = entries(&data.join(LAYERS)).into_iter().filter(is_temporary);
        Self {
            processes,
            mounts: mounts_below(root),
            groups: control_groups(root, started),
            folders: empty.chain(unfinished).collect(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How much there is.
    pub fn count(&self) -> usize {
        self.processes.len() + self.mounts.len() + self.groups.len() + self.folders.len()
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.display().to_string()).collect()
        };
        for (kind, found) in [
            ("process", &self.processes),
            ("mount", &self.mounts),
            ("control group", &show(&self.groups)),
            ("directory", &show(&self.folders)),
        ] {
            for one in found {
                writeln!(formatter, "{kind}: {one}")?;
            }
        }
        Ok(())
    }
}

/// The layers that are on the disk, by the names of their directories.
pub fn layers_on_disk(data: &Path) -> Vec<String> {
    let names = entries(&data.join(LAYERS)).into_iter();
    let names = names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Every process that sees a mount from below `root`. Each is asked of its own mount table, so that the host's other
/// sandboxes do not count.
pub fn processes_inside(root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    let is_inside = |pid: &u32| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
        mounts.is_ok_and(|mounts| mounts.contains(&root))
    };
    let inside = numbers_in_proc().into_iter().filter(is_inside);
    inside.map(|pid| format!("{pid} {}", command_line(pid))).collect()
}

/// The control groups of the sandboxes of these programs, as far as they are not older than `root`: ids of processes are
/// used again, and groups of others may have been left over long ago.
pub fn control_groups(root: &Path, started: &[u32]) -> Vec<PathBuf> {
    let began = fs::metadata(root).and_then(|found| found.created());
    let is_ours = |path: &Path| match (fs::metadata(path).and_then(|it| it.modified()), &began) {
        (Ok(made), Ok(began)) => made >= *began,
        (Err(_), _) | (_, Err(_)) => true,
    };
    let own: Vec<String> = started.iter().map(|pid| format!("sandgate-{pid}-")).collect();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if own.iter().any(|prefix| name.starts_with(prefix)) {
                found.extend(Some(path).filter(|path| is_ours(path)));
            } else {
                folders.push(path);
            }
        }
    }
    found
}

fn mounts_below(root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter(|line| line.contains(&root)).map(str::to_owned).collect()
}

/// Outer halves of sandboxes whose program is gone.
fn orphans() -> Vec<String> {
    let is_orphan = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("\nPPid:\t1\n") && command_line(*pid).starts_with("sandgate-init")
    };
    let found = numbers_in_proc().into_iter().filter(is_orphan);
    found.map(|pid| format!("{pid} {}", command_line(pid))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn numbers_in_proc() -> Vec<u32> {
    let names = entries(Path::new("/proc")).into_iter();
    names.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_and_named() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        assert!(Remains::find(root.path(), &data, &[]).is_empty());
        for folder in ["node/sandboxes/sbx_1", "node/store/layers/.new-layer_1"] {
            fs::create_dir_all(data.join(folder)).unwrap();
        }
        fs::create_dir_all(data.join("node/store/layers/layer_2")).unwrap();
        let found = Remains::find(root.path(), &data, &[]);
        assert_eq!(found.count(), 2, "{found}");
        assert!(found.to_string().contains("directory: "), "{found}");
        assert!(found.to_string().contains(".new-layer_1"), "{found}");
        assert_eq!(layers_on_disk(&data), ["layer_2"]);
    }
}
