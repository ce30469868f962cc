//! `bwrap --unshare-all` over the same files.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::stand::{root_folders, root_links};

/// An installed bubblewrap that works here.
pub struct Bubblewrap(());

impl Bubblewrap {
    /// Tries it once.
    pub fn find() -> Result<Self, String> {
        let found = Self(());
        match super::succeed(&mut found.command()) {
            Ok(()) => Ok(found),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// One sandbox for `/bin/true`, start to end.
    pub fn live(&self) -> anyhow::Result<()> {
        // As cheap for it as can be: nothing is collected.
        let status = self.command().stdin(Stdio::null()).status().context("bwrap")?;
        if !status.success() {
            bail!("bwrap ended with {status}");
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--ro-bind", "/usr", "/usr"]);
        for (name, target) in root_links() {
            command.arg("--symlink").arg(target).arg(format!("/{name}"));
        }
        for path in root_folders() {
            command.arg("--ro-bind").arg(&path).arg(&path);
        }
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true"]);
        command
    }
}
