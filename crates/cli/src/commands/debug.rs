//! `sandgate debug`: a shell, or one command, exactly where a gate failed.

mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use sandgate_domain::{
    ErrorCode, IsolationLevel, NetworkAccess, Snapshot, SnapshotKind, StepState,
};
use sandgate_node::Live;
use sandgate_provider_gateway::Purpose;
use sandgate_sandbox::{Command, ExitStatus, Output, Stdin};
use sandgate_wire::node::v1::SandboxSpec;

use crate::commands::logs::find_step;
use crate::commands::run::{find_run, require_isolation};
use crate::commands::snapshot::find;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::{Machine, Records};
use crate::named::IdStart;

/// Arguments of `sandgate debug`.
#[derive(Debug, Args)]
#[command(after_help = "Inside, `rerun` repeats the gate. What you change is gone when you leave.")]
pub struct Debug {
    /// The gate
    #[arg(required_unless_present = "snapshot")]
    gate: Option<String>,
    /// The run; the default is the latest of this repository
    #[arg(long, value_name = "ID", value_parser = IdStart::run)]
    run: Option<IdStart>,
    /// A snapshot instead of the one of a gate
    #[arg(long, value_name = "ID", value_parser = IdStart::snapshot, conflicts_with_all = ["gate", "run"])]
    snapshot: Option<IdStart>,
    /// A command instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Opens a snapshot and stays in it until the shell ends.
pub async fn run(context: &Context, command: Debug) -> Result<Exit, Failure> {
    if context.global.no_input && command.command.is_empty() {
        let message = "a shell asks for input, and --no-input forbids that";
        let failure = Failure::new(ErrorCode::InvalidArgument, message);
        return Err(failure.help("name a command behind `--`, such as `-- rerun`"));
    }
    let records = Records::open(context).await?;
    let snapshot = find_snapshot(context, &records, &command).await?;
    // Who made a snapshot of plain processes has consented to them.
    let machine = Machine::open_at(context, &records, snapshot.entry.isolation).await?;
    require_isolation(&machine)?;
    require_level(&machine, &snapshot)?;
    machine.node.reserve()?;
    let found = &machine.node.base().await?.fingerprint;
    if *found != snapshot.base_fingerprint {
        let message = format!(
            "{} was made on another base: this machine's tools have changed since ({} then, {found} now)",
            snapshot.id, snapshot.base_fingerprint
        );
        return Err(Failure::new(ErrorCode::Conflict, message)
            .help("run the gates again to get a snapshot on the tools of today"));
    }
    let entry = &snapshot.entry;
    let spec = SandboxSpec {
        layers: snapshot.layers.iter().map(ToString::to_string).collect(),
        network: entry.network == NetworkAccess::Full,
        private_ranges: false,
        limits: Some(entry.resources.into()),
        scripts: entry.commands.clone(),
        directory: entry.directory.clone(),
        changed_paths: None,
    };
    let purpose = Purpose { run: Some(snapshot.run), step: None };
    let created = machine.gateway.create(purpose, spec).await?;
    let live = machine.node.live(created.id).await?;
    let status = enter(context, &snapshot, &live, command.command).await;
    drop(live);
    machine.gateway.destroy(created.id, None).await?;
    exit_of(status?)
}

/// Refuses a snapshot whose files are not where they say at the level of this machine.
fn require_level(machine: &Machine, snapshot: &Snapshot) -> Result<(), Failure> {
    if machine.node.level() == snapshot.entry.isolation {
        return Ok(());
    }
    let (then, now) = (snapshot.entry.isolation.as_str(), machine.node.level().as_str());
    let message = format!(
        "{} was made at the {then} level, and here sandboxes are at the {now} level: its files hold paths that \
         are not the same",
        snapshot.id
    );
    Err(Failure::new(ErrorCode::Conflict, message)
        .help("run the gates again to get a snapshot of this level"))
}

async fn find_snapshot(
    context: &Context,
    records: &Records,
    command: &Debug,
) -> Result<Snapshot, Failure> {
    if let Some(start) = &command.snapshot {
        return find(&records.snapshots, start).await;
    }
    let gate = command.gate.as_deref().unwrap_or_default();
    let run = find_run(context, records, command.run.as_ref()).await?;
    let steps = records.store.steps(&context.tenant).of_run(run.id).await?;
    let step = find_step(&steps, gate)?;
    let snapshot = match &step.state {
        StepState::Ended { completion, .. } => completion.snapshot,
        StepState::Waiting | StepState::Ready | StepState::Claimed { .. } => None,
    };
    match snapshot {
        Some(id) => Ok(records.snapshots.get(id).await?),
        None => {
            let result = step.state.completion().map(|completion| completion.result);
            let result = result.map_or_else(|| step.state.name(), |result| result.as_str());
            let message = format!("`{gate}` of {} has no debug snapshot: it is {result}", run.id);
            let failure = Failure::new(ErrorCode::NotFound, message);
            Err(match run.approved_snapshot {
                Some(id) => {
                    failure.help(format!("enter what was approved: sandgate debug --snapshot {id}"))
                }
                None => failure,
            })
        }
    }
}

async fn enter(
    context: &Context,
    snapshot: &Snapshot,
    live: &Live,
    argv: Vec<OsString>,
) -> Result<ExitStatus, Failure> {
    if snapshot.entry.isolation == IsolationLevel::Process {
        eprintln!("note: isolation: {}", crate::text::PROCESS_LEVEL);
    }
    let is_interactive =
        argv.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut command = Command::new(if argv.is_empty() { shell(is_interactive) } else { argv });
    command.cwd = PathBuf::from(&snapshot.entry.directory);
    command.env = variables(context, snapshot, live);
    if !is_interactive {
        command.stdin =
            Stdin::Inherit(rustix::io::dup(std::io::stdin()).map_err(std::io::Error::from)?);
        command.output = Output::Fds {
            stdout: rustix::io::dup(std::io::stdout()).map_err(std::io::Error::from)?,
            stderr: rustix::io::dup(std::io::stderr()).map_err(std::io::Error::from)?,
        };
        let mut process = live.start(command).await?;
        return Ok(process.wait().await);
    }
    greet(snapshot);
    terminal::attach(live, command).await
}

fn greet(snapshot: &Snapshot) {
    let what = match snapshot.kind {
        SnapshotKind::Debug => "the files as the gate left them",
        SnapshotKind::Approved => "the files that were approved",
        SnapshotKind::Setup => "the files after the setup",
    };
    eprintln!("{}: {what}. Nothing you change is kept.", snapshot.id);
    if !snapshot.entry.commands.is_empty() {
        eprintln!("`rerun` repeats the gate, `exit` leaves.");
    }
}

fn shell(is_interactive: bool) -> Vec<OsString> {
    let bash =
        ["/bin/bash", "/usr/bin/bash"].iter().find(|path| std::path::Path::new(path).exists());
    let mut argv = vec![OsString::from(bash.unwrap_or(&"/bin/sh"))];
    if bash.is_some() {
        argv.extend(["--norc".into(), "--noprofile".into()]);
    }
    if is_interactive {
        argv.push("-i".into());
    }
    argv
}

/// The variables of the gate, and the few that belong to this terminal.
fn variables(context: &Context, snapshot: &Snapshot, live: &Live) -> Vec<(OsString, OsString)> {
    let mut variables = live.environment().clone();
    variables.extend(snapshot.entry.environment.clone());
    for name in ["TERM", "COLORTERM"] {
        if let Some(value) = context.environment.text(name) {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    let name = snapshot.gate.clone().unwrap_or_else(|| snapshot.kind.to_string());
    variables.insert("PS1".to_owned(), format!("[{name}] \\w\\$ "));
    variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The shell's own status is the command's.
fn exit_of(status: ExitStatus) -> Result<Exit, Failure> {
    match status {
        ExitStatus::Exited(0) => Ok(Exit::Ok),
        ExitStatus::Exited(code) => Err(Failure {
            exit: Exit::Negative,
            code: "exit_status".to_owned(),
            message: format!("the command ended with status {code}"),
            help: None,
        }),
        ExitStatus::Signaled(signal) => Err(Failure {
            exit: Exit::Negative,
            code: "exit_status".to_owned(),
            message: format!("the command was ended by signal {signal}"),
            help: None,
        }),
    }
}
