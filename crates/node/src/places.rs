//! Where things are at the process level, where nothing can be shown at a path of its own: the sandbox's names for its
//! folders are turned into the real ones in commands. Callers turn what commands tell back.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use sandgate_sandbox::Command;

use crate::base::{GATE_HOME, WORKSPACE};
use crate::scripts::INSIDE;

/// Where temporary files go inside.
const TEMPORARY: &str = "/tmp";

/// The real places of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Each folder as sandboxes call it, and where it is.
    folders: [(&'static str, PathBuf); 3],
    temporary: PathBuf,
}

impl Places {
    /// A sandbox whose files have their top in `root`, and whose scripts lie in `run_folder`.
    pub(crate) fn new(root: &Path, run_folder: &Path) -> Self {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        Self {
            folders: [
                (WORKSPACE, below(WORKSPACE)),
                (GATE_HOME, below(GATE_HOME)),
                (INSIDE, run_folder.to_owned()),
            ],
            temporary: below(TEMPORARY),
        }
    }

    /// The real path of what a sandbox calls so; other paths are those of the machine.
    pub(crate) fn outside(&self, path: &OsStr) -> OsString {
        let path = Path::new(path);
        let found = self.folders.iter().find_map(|(inside, outside)| {
            let rest = path.strip_prefix(inside).ok()?;
            let is_same = rest.as_os_str().is_empty();
            Some(if is_same { outside.clone() } else { outside.join(rest) })
        });
        found.unwrap_or_else(|| path.to_owned()).into_os_string()
    }

    /// Where its folders are, by what sandboxes call them.
    pub(crate) fn by_name(&self) -> BTreeMap<String, String> {
        let folders = self.folders.iter();
        folders.map(|(name, place)| ((*name).to_owned(), place.display().to_string())).collect()
    }

    /// The same command with real paths: its folder, its scripts, and each path in its variables.
    pub(crate) fn command(&self, command: Command) -> Command {
        let is_ours = |argument: &OsString| Path::new(argument).starts_with(INSIDE);
        let argument = |text: OsString| if is_ours(&text) { self.outside(&text) } else { text };
        let mut env: Vec<(OsString, OsString)> =
            command.env.into_iter().map(|(name, value)| (name, self.paths(&value))).collect();
        if !env.iter().any(|(name, _)| name == "TMPDIR") {
            env.push(("TMPDIR".into(), self.temporary.clone().into_os_string()));
        }
        Command {
            argv: command.argv.into_iter().map(argument).collect(),
            cwd: self.outside(command.cwd.as_os_str()).into(),
            env,
            ..command
        }
    }

    /// A list of paths as `PATH` has it, or one path, or something else, which stays.
    fn paths(&self, value: &OsStr) -> OsString {
        let parts = value.as_bytes().split(|&byte| byte == b':');
        let parts: Vec<OsString> =
            parts.map(|part| self.outside(OsStr::from_bytes(part))).collect();
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        OsString::from_vec(parts.join(&b':'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Path::new("/state/process/root"), Path::new("/state/sandboxes/7"))
    }

    #[test]
    fn commands_get_real_paths_and_what_is_not_a_path_of_ours_stays() {
        let mut command = Command::new(["/bin/sh", "/run/sandgate/scripts/1", "/workspace/x"]);
        command.cwd = "/workspace/packages/app".into();
        for (name, value) in [
            ("PATH", "/run/sandgate/bin:/home/gate/.cargo/bin:/usr/bin"),
            ("HOME", "/home/gate"),
            ("TEXT", "see /workspace: it's there"),
            ("LIKE", "/workspaces:/home/gateway"),
            ("URL", "http://localhost:80/workspace"),
        ] {
            command.env.push((name.into(), value.into()));
        }
        let real = places().command(command);
        assert_eq!(real.argv, ["/bin/sh", "/state/sandboxes/7/scripts/1", "/workspace/x"]);
        assert_eq!(real.cwd, Path::new("/state/process/root/workspace/packages/app"));
        let expected = [
            ("PATH", "/state/sandboxes/7/bin:/state/process/root/home/gate/.cargo/bin:/usr/bin"),
            ("HOME", "/state/process/root/home/gate"),
            ("TEXT", "see /workspace: it's there"),
            ("LIKE", "/workspaces:/home/gateway"),
            ("URL", "http://localhost:80/workspace"),
            ("TMPDIR", "/state/process/root/tmp"),
        ];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(real.env, expected.to_vec());
    }
}
