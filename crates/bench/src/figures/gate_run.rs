//! `sandgate run` of a repository with one gate that does nothing: the whole process.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::samples::Samples;
use crate::stand::Stand;
use crate::table::{Goal, Peer, Row, Value};

const COUNT: usize = 30;
const CONFIGURATION: &str = "version: 1\ngates:\n  nothing: { run: \"true\" }\n";

pub fn measure(stand: &Stand) -> anyhow::Result<Vec<Row>> {
    let folder = stand.folder("run")?;
    let repository = folder.join("repository");
    make_repository(&repository)?;
    let data = folder.join("data");
    let data = data.to_str().context("the folder has no UTF-8 name")?;
    let once = || {
        let mut command = stand.sandgate(&["run", "--progress", "none", "--data-dir", data]);
        let output = command.current_dir(&repository).stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("sandgate run ended with {}: {said}", output.status);
        }
        Ok(())
    };
    let begin = Instant::now();
    once()?;
    let first = begin.elapsed();
    let rows = [
        ("first, new state", Samples::new(vec![first]), 1000.0),
        ("again", Samples::of(COUNT, |_| once())?, 250.0),
    ];
    let row = |(which, samples, milliseconds)| Row {
        figure: format!("sandgate run, one trivial gate: {which}"),
        value: Value::Times(samples),
        peer: Peer::Missing { why: "no other program does this".to_owned() },
        goal: Goal::P50 { milliseconds },
    };
    Ok(rows.map(row).into())
}

fn make_repository(repository: &Path) -> anyhow::Result<()> {
    fs::create_dir(repository)?;
    fs::write(repository.join(".sandgate.yaml"), CONFIGURATION)?;
    let identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"];
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["commit", "--quiet", "--message=first"],
    ] {
        let mut git = Command::new("git");
        let status = git.current_dir(repository).args(identity).args(arguments).status()?;
        if !status.success() {
            bail!("git {} ended with {status}", arguments.join(" "));
        }
    }
    Ok(())
}
