//! `sandgate logs`: what a gate wrote.

use std::io::Write;

use clap::{Args, ValueEnum};
use sandgate_domain::{ErrorCode, RunId, Step};
use sandgate_integration_agent::Stream;

use crate::commands::run::find_run;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local::Records;

/// Arguments of `sandgate logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The gate, or `setup`
    gate: String,
    /// The run; the default is the latest of this repository
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
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
    let records = Records::open(context).await?;
    let run = find_run(context, &records, command.run).await?;
    let steps = records.store.steps(&context.tenant).of_run(run.id).await?;
    let step = find_step(&steps, &command.gate)?;
    let text = match records.logs.read(run.id, step.id, 0, u64::MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let state = step.state.name();
            let message = format!("`{}` of {} wrote nothing; it is {state}", step.name, run.id);
            return Err(Failure::new(ErrorCode::NotFound, message));
        }
        Err(error) => return Err(error.into()),
    };
    let chosen = match command.stream {
        None => text,
        Some(which) => {
            let wanted = match which {
                Which::Stdout => Stream::Stdout,
                Which::Stderr => Stream::Stderr,
            };
            let mut chosen = Vec::new();
            let mut rest = text.as_slice();
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
    match std::io::stdout().lock().write_all(&chosen) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        outcome => Ok(outcome.map(|()| Exit::Ok)?),
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
