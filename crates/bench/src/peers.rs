//! Other programs that do the same, where they are installed.

mod bubblewrap;
mod docker;

use std::process::{Command, Stdio};

use anyhow::bail;

pub use bubblewrap::Bubblewrap;
pub use docker::Docker;

use crate::machine::first_line;

/// What is installed, for the header.
pub fn versions() -> Vec<String> {
    let mut bwrap = Command::new("bwrap");
    let mut git = Command::new("git");
    let mut docker = Command::new("docker");
    docker.args(["version", "--format", "{{.Server.Version}}"]);
    let asked =
        [("bwrap", bwrap.arg("--version")), ("git", git.arg("--version")), ("docker", &mut docker)];
    asked.map(|(name, command)| format!("{name}: {}", first_line(command))).to_vec()
}

/// Runs a command to its end; what it prints is shown only if it fails.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let program = command.get_program().display();
        bail!("{program} ended with {}: {}", output.status, said.trim());
    }
    Ok(())
}
