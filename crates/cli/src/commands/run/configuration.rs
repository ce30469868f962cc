//! The configuration of a run: the file of the repository, or a proposal where it has none.

use sandgate_domain::{ErrorCode, UnsupportedKey};
use sandgate_engine::config::{self, Config};
use sandgate_engine::init::{self, Facts};
use sandgate_node::{Repository, Tree};

use crate::context::Context;
use crate::failure::Failure;

/// The name of the file, at the top of the repository.
pub const FILE_NAME: &str = ".sandgate.yaml";
/// More than this of a file is not read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the repository asks for.
pub struct Configured {
    /// The part that is built.
    pub config: Config,
    /// Known keys that can't be done yet, and may be ignored.
    pub unsupported: Vec<UnsupportedKey>,
}

/// Reads the configuration of a source.
pub fn read(
    context: &Context,
    repository: &Repository,
    tree: &Tree,
) -> Result<Configured, Failure> {
    let text = match repository.file(tree, FILE_NAME, MAX_FILE_BYTES).map_err(refused)? {
        Some(bytes) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let message = format!("{FILE_NAME} is not UTF-8: byte {at} is not");
            Failure::new(ErrorCode::InvalidArgument, message).help("save the file as UTF-8")
        })?,
        None => proposed(context, repository, tree)?,
    };
    let parsed = config::parse(&text, FILE_NAME).map_err(|errors| Failure {
        exit: crate::exit::Exit::Usage,
        code: errors
            .errors
            .first()
            .map_or("invalid_argument", |error| error.problem.as_str())
            .to_owned(),
        message: errors.to_string(),
        help: None,
    })?;
    let (fatal, ignored): (Vec<_>, Vec<_>) =
        parsed.unsupported.into_iter().partition(|key| key.fatal);
    if !fatal.is_empty() {
        let lines: Vec<String> = fatal
            .iter()
            .map(|key| {
                let place = format!("{}:{}:{}", key.file, key.line, key.column);
                format!("{place}: `{}` can't be done yet: {}", key.key, key.instead)
            })
            .collect();
        return Err(Failure::new(ErrorCode::Unsupported, lines.join("\n"))
            .help("ignoring these keys could turn a failure into a success, so nothing was run"));
    }
    let unsupported = ignored.into_iter().map(|key| UnsupportedKey {
        key: key.key,
        file: key.file,
        line: key.line,
        column: key.column,
        instead: key.instead,
    });
    Ok(Configured { config: parsed.config, unsupported: unsupported.collect() })
}

/// A file that is too large is wrong input, not a lack of room here.
fn refused(error: sandgate_node::Error) -> Failure {
    if matches!(error, sandgate_node::Error::TooLarge { .. }) {
        return Failure::from_error(ErrorCode::InvalidArgument, &error)
            .help("keep large scripts in files of the repository, and call those");
    }
    error.into()
}

fn proposed(context: &Context, repository: &Repository, tree: &Tree) -> Result<String, Failure> {
    let proposal = init::propose(&facts(repository, tree)?)
        .map_err(|error| Failure::from_error(ErrorCode::InvalidArgument, &error))?;
    if !context.global.quiet {
        eprintln!(
            "no {FILE_NAME}: running what `sandgate init` proposes: {}",
            proposal.gates.join(", ")
        );
    }
    Ok(proposal.yaml)
}

/// What a proposal is made from.
pub fn facts(repository: &Repository, tree: &Tree) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    for path in tree.paths() {
        let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        if let Ok(name) = std::str::from_utf8(first) {
            facts.names.insert(name.to_owned());
        }
    }
    for wanted in init::CONTENTS {
        if let Some(bytes) = repository.file(tree, wanted, MAX_FILE_BYTES)? {
            facts.contents.insert((*wanted).to_owned(), bytes);
        }
    }
    Ok(facts)
}
