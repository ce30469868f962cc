//! `sandgate logs`: what a gate wrote, here or on a server.

mod remote;

use std::io::Write;

use clap::{Args, ValueEnum};
use sandgate_domain::{ErrorCode, Step};
use sandgate_integration_agent::Stream;
use serde_json::json;

use crate::client::{self, Client};
use crate::commands::run::find_run;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::Records;
use crate::named::IdStart;
use crate::output::{self, Format};
use crate::text;
use crate::view::RunView;

/// Arguments of `sandgate logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The gate, or `setup`
    gate: String,
    /// The run; the default is the latest of this repository
    #[arg(long, value_name = "ID", value_parser = IdStart::run)]
    run: Option<IdStart>,
    /// Go on until the gate ends; asks the server
    #[arg(short, long, conflicts_with = "stream")]
    follow: bool,
    /// Only what went to one of the two outputs
    #[arg(long, value_enum)]
    stream: Option<Which>,
}

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Prints a log, as it was written.
pub async fn run(context: &Context, command: Logs) -> Result<Exit, Failure> {
    let global = &context.global;
    let is_served = global.data_dir.as_deref().is_some_and(|dir| client::runs_over(context, dir));
    let is_remote = command.follow || global.server.is_some() || is_served;
    if is_remote && command.stream.is_some() {
        let message = "the server keeps both outputs in one log, in the order in which they came";
        return Err(Failure::new(ErrorCode::Unsupported, message).help("leave --stream out"));
    }
    if is_remote {
        let client = Client::find(context)?;
        let run = command.run.as_ref();
        return remote::print(context, &client, run, &command.gate, command.follow).await;
    }
    let missing = match local(context, &command).await {
        Err(failure) if failure.exit == Exit::NotFound => failure,
        outcome => return outcome,
    };
    // Not one of the runs here: perhaps one of the server's.
    let Ok(client) = Client::find(context) else { return Err(missing) };
    if command.stream.is_some() {
        return Err(missing);
    }
    match remote::print(context, &client, command.run.as_ref(), &command.gate, false).await {
        Err(failure) if failure.exit == Exit::NotFound => Err(missing),
        outcome => outcome,
    }
}

async fn local(context: &Context, command: &Logs) -> Result<Exit, Failure> {
    let records = Records::open(context).await?;
    let run = find_run(context, &records, command.run.as_ref()).await?;
    let steps = records.store.steps(&context.tenant).of_run(run.id).await?;
    let step = find_step(&steps, &command.gate)?;
    if RunView::new(&run, &[]).is_plain() {
        eprintln!("note: isolation: {}", text::PROCESS_LEVEL);
    }
    let output = match records.logs.read(run.id, step.id, 0, u64::MAX) {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let state = step.state.name();
            let message = format!("`{}` of {} wrote nothing; it is {state}", step.name, run.id);
            return Err(Failure::new(ErrorCode::NotFound, message));
        }
        Err(error) => return Err(error.into()),
    };
    let chosen = match command.stream {
        None => output,
        Some(which) => {
            let wanted = match which {
                Which::Stdout => Stream::Stdout,
                Which::Stderr => Stream::Stderr,
            };
            let mut chosen = Vec::new();
            let mut rest = output.as_slice();
            for span in records.logs.spans(run.id, step.id)? {
                let count = usize::try_from(span.bytes).unwrap_or(usize::MAX).min(rest.len());
                let (part, after) = rest.split_at(count);
                rest = after;
                if span.stream == wanted {
                    chosen.extend_from_slice(part);
                }
            }
            chosen
        }
    };
    show(context.global.output, &run.id.to_string(), &step.id.to_string(), &step.name, &chosen)?;
    Ok(Exit::Ok)
}

/// Writes a log in the wanted form: byte for byte, or as a text in a document.
fn show(format: Format, run: &str, id: &str, gate: &str, log: &[u8]) -> Result<(), Failure> {
    match format {
        Format::Table => write(log),
        Format::Name => output::write(&format!("{id}\n")),
        Format::Json | Format::Jsonl | Format::Yaml => {
            let text = String::from_utf8_lossy(log);
            let document = json!({ "run": run, "id": id, "name": gate, "text": text });
            output::document(format, &document)
        }
    }
}

/// Writes bytes as they are; a reader that went away is not an error.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// The step with this name.
pub fn find_step<'a>(steps: &'a [Step], name: &str) -> Result<&'a Step, Failure> {
    steps.iter().find(|step| step.name == name).ok_or_else(|| {
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        Failure::new(ErrorCode::NotFound, format!("the run has no gate `{name}`"))
            .help(format!("its gates are: {}", names.join(", ")))
    })
}
