//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::context::LogFormat;
use crate::output::{Colour, Format};
use crate::progress::Form;

/// Takes a pull request from opened to proven: quality gates in isolated sandboxes, and a shell on every failure.
#[derive(Debug, Parser)]
#[command(name = "sandgate", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that stand before or after the command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The form of the data on standard output
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
    /// The folder for state; the default is `$XDG_STATE_HOME/sandgate`
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The server to speak to; the default is the one that runs on this machine
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The configuration of the server [default: sandgate.yaml, if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Log more to standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only, and show no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// The form of the log on standard error
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Colour,
    /// The form of the progress on standard error
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub progress: Form,
    /// Never ask anything
    #[arg(long, global = true)]
    pub no_input: bool,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gates of the current repository in isolated sandboxes
    Run(commands::run::Run),
    /// Open a shell exactly where a gate failed
    Debug(commands::debug::Debug),
    /// Show what a gate wrote
    Logs(commands::logs::Logs),
    /// Show the latest runs of the repository on the server
    Status(commands::status::Status),
    /// List, show and remove snapshots
    #[command(subcommand, visible_alias = "snapshots")]
    Snapshot(commands::snapshot::Snapshot),
    /// Open, push, show and approve pull requests of the server
    #[command(subcommand)]
    Pr(commands::pr::Pr),
    /// Make repositories known to the server
    #[command(subcommand)]
    Repo(commands::repo::Repo),
    /// Serve everything in one process: webhooks, pull requests, runs, pages
    Dev(commands::dev::Dev),
    /// Show the whole way from webhook to verdict on a sample repository
    Demo(commands::demo::Demo),
    /// Propose a .sandgate.yaml from what the repository contains
    Init(commands::init::Init),
    /// Tell what this machine can isolate, what is missing and how to get it
    Doctor,
    /// Print the JSON Schema of .sandgate.yaml
    Schema,
    /// Show the configuration of the server as it would be now
    #[command(subcommand)]
    Config(commands::config::Config),
    /// Print what makes a shell complete the commands
    Completions(commands::completions::Completions),
}
