//! What can be wrong with a configuration file, with a stable code, the place, and the next step.

use std::fmt;

use sandgate_domain::ErrorCode;

use super::source::{Position, snippet};

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident => $code:literal,)+) => {
        /// The kind of a configuration error. The names are stable; scripts and documents may refer to them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Problem { $($(#[$doc])* $name,)+ }

        impl Problem {
            /// All kinds.
            pub const ALL: &[Problem] = &[$(Self::$name,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

problems! {
    /// Not YAML.
    Syntax => "config.syntax",
    /// A tab where YAML wants spaces.
    Tab => "config.tab",
    /// A NUL character, written or escaped.
    Nul => "config.nul",
    /// The file is larger than the bound.
    TooLarge => "config.too_large",
    /// Nested deeper than the bound.
    TooDeep => "config.too_deep",
    /// Aliases that expand to more than the bound.
    TooManyNodes => "config.too_many_nodes",
    /// An alias of something that is not complete yet.
    Alias => "config.alias",
    /// A YAML tag such as `!!str`.
    Tag => "config.tag",
    /// A merge key `<<`.
    MergeKey => "config.merge_key",
    /// More than one YAML document.
    SeveralDocuments => "config.several_documents",
    /// Nothing in it.
    Empty => "config.empty",
    /// A key that is no name.
    KeyType => "config.key_type",
    /// The same key twice.
    DuplicateKey => "config.duplicate_key",
    /// A key that we don't know.
    UnknownKey => "config.unknown_key",
    /// A key that must be there.
    MissingKey => "config.missing_key",
    /// A value of another type.
    WrongType => "config.wrong_type",
    /// A value that is none of the allowed words.
    UnknownValue => "config.unknown_value",
    /// A version of the format that we don't know.
    Version => "config.version",
    /// A duration that can't be read or is out of bounds.
    Duration => "config.duration",
    /// A size that can't be read or is out of bounds.
    Size => "config.size",
    /// A number that can't be read or is out of bounds.
    Number => "config.number",
    /// A gate name that can't be a check name.
    GateName => "config.gate_name",
    /// A path that leaves the repository.
    Path => "config.path",
    /// A glob that can't be read.
    Glob => "config.glob",
    /// A command, list or text that is empty.
    EmptyValue => "config.empty_value",
    /// A text or list longer than the bound.
    TooLong => "config.too_long",
    /// A name of an environment variable that can't be one, or is ours.
    Variable => "config.variable",
    /// No gates at all.
    NoGates => "config.no_gates",
    /// More gates than the bound.
    TooManyGates => "config.too_many_gates",
    /// A reference to a gate that does not exist.
    UnknownGate => "config.unknown_gate",
    /// Gates that wait for each other.
    Cycle => "config.cycle",
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One thing that is wrong, at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What kind of thing.
    pub problem: Problem,
    /// The file, as the caller named it.
    pub file: String,
    /// Where.
    pub position: Position,
    /// What is wrong, in one line.
    pub message: String,
    /// The lines around it with a caret; empty where there is nothing to show.
    pub snippet: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for ConfigError {
    /// `file:line:column: error[code]: what`, the snippet, and `help: …`; no colour, no newline at the end.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column, .. } = self.position;
        write!(
            formatter,
            "{}:{line}:{column}: error[{}]: {}",
            self.file, self.problem, self.message
        )?;
        if !self.snippet.is_empty() {
            write!(formatter, "\n{}", self.snippet.trim_end())?;
        }
        if let Some(help) = &self.help {
            write!(formatter, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// Everything found wrong in one file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct ConfigErrors {
    /// The errors, at most [`ConfigErrors::SHOWN`].
    pub errors: Vec<ConfigError>,
    /// How many more there were.
    pub more: usize,
}

impl ConfigErrors {
    /// How many errors are kept.
    pub const SHOWN: usize = 50;

    /// The general code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn render(&self) -> String {
        let mut texts: Vec<String> = self.errors.iter().map(ConfigError::to_string).collect();
        if self.more > 0 {
            texts.push(format!("and {} more errors", self.more));
        }
        texts.join("\n\n")
    }
}

/// An error before it is placed in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub problem: Problem,
    pub position: Position,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    pub fn new(problem: Problem, position: Position, message: impl Into<String>) -> Self {
        Self { problem, position, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Sorts, drops repetitions (an alias shows the same place twice), bounds, and adds snippets.
pub(super) fn in_file(mut findings: Vec<Finding>, file: &str, text: &str) -> ConfigErrors {
    findings.sort_by_key(|finding| (finding.position, finding.problem));
    findings.dedup();
    let more = findings.len().saturating_sub(ConfigErrors::SHOWN);
    findings.truncate(ConfigErrors::SHOWN);
    let placed = |finding: Finding| {
        let position = finding.position.within(text);
        let is_about_the_whole = matches!(finding.problem, Problem::TooLarge | Problem::Empty);
        ConfigError {
            problem: finding.problem,
            file: file.to_owned(),
            position,
            message: finding.message,
            snippet: if is_about_the_whole { String::new() } else { snippet(text, position) },
            help: finding.help,
        }
    };
    let errors = findings.into_iter().map(placed).collect();
    ConfigErrors { errors, more }
}
