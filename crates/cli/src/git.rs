//! Runs `git` for what reading a repository is not enough for: facts of a checkout, and writing the sample.
//!
//! By argument vector, without hooks, without the settings of this machine and user, and bounded in time.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sandgate_domain::ErrorCode;
use tokio::process::Command;

use crate::context::Context;
use crate::failure::Failure;

/// How long one command may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Git in one folder.
#[derive(Debug, Clone)]
pub struct Git {
    folder: PathBuf,
    search_path: std::ffi::OsString,
    variables: Vec<(&'static str, String)>,
}

impl Git {
    /// Git in this folder, found as this process would find it.
    pub fn new(context: &Context, folder: &Path) -> Self {
        let path = context.environment.get("PATH").unwrap_or_default();
        Self::with_path(path, folder)
    }

    /// Git in this folder, found in the folders of `search_path`.
    pub fn with_path(search_path: &OsStr, folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            search_path: search_path.to_owned(),
            variables: Vec::new(),
        }
    }

    /// The same with one more variable.
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// What a command printed, without the line break at its end; an error if it did not succeed.
    pub async fn read(&self, arguments: &[&str]) -> Result<String, Failure> {
        let (success, stdout, stderr) = self.run(arguments).await?;
        if success {
            return Ok(stdout);
        }
        let message = format!(
            "`git {}` failed in `{}`: {}",
            arguments.first().unwrap_or(&""),
            self.folder.display(),
            stderr.trim()
        );
        Err(Failure::new(ErrorCode::Internal, message))
    }

    /// What a command printed; none if it ended with another status than 0.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Option<String>, Failure> {
        let (success, stdout, _) = self.run(arguments).await?;
        Ok(success.then_some(stdout))
    }

    async fn run(&self, arguments: &[&str]) -> Result<(bool, String, String), Failure> {
        let output = Command::new("git")
            .env_clear()
            .env("PATH", &self.search_path)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "--no-pager"])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(DEADLINE, output).await {
            Ok(output) => output.map_err(missing)?,
            Err(_elapsed) => {
                let message = format!("git did not end within {} s", DEADLINE.as_secs());
                return Err(Failure::new(ErrorCode::DeadlineExceeded, message));
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }
}

fn missing(error: std::io::Error) -> Failure {
    Failure::new(ErrorCode::Unsupported, format!("git can't be started: {error}"))
        .help("install git, or put it on PATH")
}
