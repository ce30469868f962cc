//! `sandgate completions`: the script that makes a shell complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::Arguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Arguments of `sandgate completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "For bash: sandgate completions bash > ~/.local/share/bash-completion/completions/sandgate"
)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(command: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    generate(command.shell, &mut Arguments::command(), "sandgate", &mut script);
    output::write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
