//! `docker run --network none`, where an engine answers.

use std::process::{Command, Stdio};

use anyhow::bail;

const IMAGE: &str = "busybox:stable";

/// A Docker engine that has the image.
pub struct Docker(());

impl Docker {
    /// Asks the engine and fetches the image if it is not there.
    pub fn find() -> Result<Self, String> {
        let mut asked = Command::new("docker");
        asked.args(["version", "--format", "{{.Server.Version}}"]);
        super::succeed(&mut asked).map_err(|error| format!("{error:#}"))?;
        let mut inspect = Command::new("docker");
        if super::succeed(inspect.args(["image", "inspect", IMAGE])).is_err() {
            let mut pull = Command::new("docker");
            super::succeed(pull.args(["pull", "--quiet", IMAGE]))
                .map_err(|error| format!("{error:#}"))?;
        }
        Ok(Self(()))
    }

    /// One container for `/bin/true`, start to end.
    pub fn live(&self) -> anyhow::Result<()> {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network", "none", IMAGE, "/bin/true"]);
        let status = command.stdin(Stdio::null()).status()?;
        if !status.success() {
            bail!("docker ended with {status}");
        }
        Ok(())
    }
}
