//! The files that a sandbox finds below `/run/sandgate`: its scripts, `rerun`, and the changed paths.
//!
//! A gate runs exactly these scripts, and `rerun` in a debug shell runs exactly the same ones again.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::places::Places;

/// Where the files are inside a sandbox.
pub const INSIDE: &str = "/run/sandgate";

/// How a script is started: the words before the path of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `bash -e -o pipefail`: a failed command ends the script, also inside a pipeline.
    Bash,
    /// `sh -e`, where the machine has no bash: a failed command ends the script, except inside a pipeline.
    Posix,
}

impl Shell {
    /// The shell that scripts get when the host tools are as they are now.
    pub fn of_this_host() -> Self {
        if Path::new("/bin/bash").exists() || Path::new("/usr/bin/bash").exists() {
            Self::Bash
        } else {
            Self::Posix
        }
    }

    /// The words before the path of a script.
    pub fn words(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Bash => &["/bin/bash", "-e", "-o", "pipefail"],
            Self::Posix => &["/bin/sh", "-e"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The argument vector that runs the script at `path`.
    pub fn argv(self, path: &str) -> Vec<String> {
        let mut argv = self.words();
        argv.push(path.to_owned());
        argv
    }
}

/// What the files are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles {
    /// One script each, in order.
    pub scripts: Vec<String>,
    /// The folder that they start in, inside the sandbox.
    pub directory: String,
    /// The paths that differ from the base, one a line; none if that is not known.
    pub changed_paths: Option<Vec<String>>,
}

impl RunFiles {
    /// The path of the script with this index (from 0), inside the sandbox.
    pub fn script_path(index: usize) -> String {
        format!("{INSIDE}/scripts/{}", index + 1)
    }

    /// The path of the file with the changed paths, inside the sandbox, if there is one.
    pub fn changed_paths_path(&self) -> Option<String> {
        self.changed_paths.as_ref().map(|_| format!("{INSIDE}/changed-paths"))
    }

    /// Writes the files into a new folder of the host, which is then bound to [`INSIDE`]; or at the process level, with
    /// `places`, is what it stands for.
    ///
    /// # Errors
    /// If the folder exists already or can't be written.
    pub(crate) fn write(
        &self,
        folder: &Path,
        shell: Shell,
        places: Option<&Places>,
    ) -> io::Result<()> {
        fs::create_dir(folder)?;
        fs::create_dir(folder.join("scripts"))?;
        fs::create_dir(folder.join("bin"))?;
        for (index, script) in self.scripts.iter().enumerate() {
            let path = folder.join("scripts").join((index + 1).to_string());
            write_readable(&path, script.as_bytes(), 0o644)?;
        }
        write_readable(&folder.join("bin/rerun"), self.rerun(shell, places).as_bytes(), 0o755)?;
        if let Some(paths) = &self.changed_paths {
            let mut text = paths.join("\n");
            text.push('\n');
            write_readable(&folder.join("changed-paths"), text.as_bytes(), 0o644)?;
        }
        for readable in [folder.to_path_buf(), folder.join("scripts"), folder.join("bin")] {
            fs::set_permissions(readable, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    fn rerun(&self, shell: Shell, places: Option<&Places>) -> String {
        let real = |path: &str| match places {
            None => path.to_owned(),
            Some(places) => places.outside(path.as_ref()).to_string_lossy().into_owned(),
        };
        let mut text = String::from(
            "#!/bin/sh\n# Repeats the gate: the same scripts in the same folder.\nset -e\n",
        );
        text.push_str(&format!("cd {}\n", quote(&real(&self.directory))));
        for index in 0..self.scripts.len() {
            let script = real(&Self::script_path(index));
            let script = if places.is_some() { quote(&script) } else { script };
            text.push_str(&shell.argv(&script).join(" "));
            text.push('\n');
        }
        text
    }
}

fn write_readable(path: &PathBuf, bytes: &[u8], mode: u32) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The text as one word of a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rerun_repeats_every_script_in_order() {
        let files = RunFiles {
            scripts: vec!["make".into(), "make check".into()],
            directory: "/workspace/it's".into(),
            changed_paths: None,
        };
        assert_eq!(
            files.rerun(Shell::Bash, None),
            "#!/bin/sh\n# Repeats the gate: the same scripts in the same folder.\nset -e\n\
             cd '/workspace/it'\\''s'\n\
             /bin/bash -e -o pipefail /run/sandgate/scripts/1\n\
             /bin/bash -e -o pipefail /run/sandgate/scripts/2\n"
        );
    }

    #[test]
    fn rerun_goes_to_the_real_places() {
        let files = RunFiles {
            scripts: vec!["make".into()],
            directory: "/workspace/app".into(),
            changed_paths: None,
        };
        let places = Places::new(Path::new("/a b/root"), Path::new("/a b/7"));
        let text = files.rerun(Shell::Posix, Some(&places));
        let end = "cd '/a b/root/workspace/app'\n/bin/sh -e '/a b/7/scripts/1'\n";
        assert!(text.ends_with(end), "{text}");
    }
}
