//! The one binary of Sandgate. It reads the command line and calls one command; everything else is in its crate.

mod args;
mod checkout;
mod client;
mod commands;
mod context;
mod exit;
mod failure;
mod git;
mod local;
mod named;
mod output;
mod progress;
mod server;
mod text;
mod tidy;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;

fn main() -> ExitCode {
    sandgate_sandbox::enter_if_init();
    let arguments = Arguments::parse();
    let format = arguments.global.output;
    let exit = match start(arguments) {
        Ok(exit) => exit,
        Err(failure) => {
            report(&failure, format);
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn start(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(dispatch(arguments));
    // Reading standard input can't be interrupted; nobody waits for it any more.
    runtime.shutdown_background();
    exit
}

async fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    let context = Context::new(arguments.global)?;
    match arguments.command {
        Command::Run(command) => commands::run::run(&context, command).await,
        Command::Debug(command) => commands::debug::run(&context, command).await,
        Command::Logs(command) => commands::logs::run(&context, command).await,
        Command::Status(command) => commands::status::run(&context, command).await,
        Command::Pr(command) => commands::pr::run(&context, command).await,
        Command::Repo(command) => commands::repo::run(&context, command).await,
        Command::Snapshot(command) => commands::snapshot::run(&context, command).await,
        Command::Dev(command) => commands::dev::run(&context, command).await,
        Command::Demo(command) => commands::demo::run(&context, command).await,
        Command::Init(command) => commands::init::run(&context, &command),
        Command::Doctor => commands::doctor::run(&context).await,
        Command::Schema => commands::schema::run(&context),
        Command::Config(command) => commands::config::run(&context, command),
        Command::Completions(command) => commands::completions::run(&command),
    }
}

fn report(failure: &Failure, format: Format) {
    let problem = serde_json::json!({
        "title": failure.message,
        "code": failure.code,
        "help": failure.help,
    });
    match format {
        Format::Json | Format::Jsonl => return eprintln!("{problem}"),
        Format::Yaml => {
            if let Ok(text) = output::yaml(&problem) {
                return eprint!("{text}");
            }
        }
        Format::Table | Format::Name => {}
    }
    eprintln!("error[{}]: {}", failure.code, failure.message);
    if let Some(help) = &failure.help {
        eprintln!("help: {help}");
    }
}
