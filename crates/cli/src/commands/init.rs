//! `sandgate init`: a proposal for `.sandgate.yaml` from what the repository contains.

use std::io::Write;
use std::path::Path;

use clap::Args;
use sandgate_domain::ErrorCode;
use sandgate_engine::init;
use sandgate_node::{GitProgram, Repository};
use serde_json::json;

use crate::commands::run::{FILE_NAME, facts};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Arguments of `sandgate init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Print the proposal, write nothing
    #[arg(long)]
    print: bool,
}

/// Writes the proposal, unless there is a file already.
pub fn run(context: &Context, command: &Init) -> Result<Exit, Failure> {
    let git = GitProgram::find(&context.environment.path())?;
    let repository = Repository::open(&git, &std::env::current_dir()?)?;
    let tree = repository.working_tree(context.ignore_file().as_deref())?;
    let proposal = init::propose(&facts(&repository, &tree)?)
        .map_err(|error| Failure::from_error(ErrorCode::InvalidArgument, &error))?;
    let format = context.global.output;
    let document = |path: Option<&Path>| json!({ "path": path, "gates": proposal.gates, "notes": proposal.notes, "yaml": proposal.yaml });
    if command.print {
        output::one(format, &document(None), FILE_NAME, Some(&proposal.yaml))?;
        return Ok(Exit::Ok);
    }
    let Some(top) = repository.top_level() else {
        return Err(Failure::new(ErrorCode::InvalidArgument, "the repository has no working tree")
            .help("print the proposal with `sandgate init --print`"));
    };
    let path = top.join(FILE_NAME);
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    match created {
        Ok(mut file) => file.write_all(proposal.yaml.as_bytes())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("`{}` exists already", path.display());
            return Err(Failure::new(ErrorCode::Conflict, message)
                .help("see the proposal with `sandgate init --print`"));
        }
        Err(error) => return Err(error.into()),
    }
    output::one(format, &document(Some(&path)), &path.display().to_string(), None)?;
    context.tell(format!("wrote {} with the gates: {}", path.display(), proposal.gates.join(", ")));
    for note in &proposal.notes {
        context.tell(format!("note: {note}"));
    }
    context.tell("next: sandgate run");
    Ok(Exit::Ok)
}
