//! The layer of the file: YAML, read event by event so that every value keeps its line and column.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_saphyr::granit_parser::{Event, Options, Parser, Span, StrInput};

use super::key::{self, KEYS, Kind, unknown};
use super::{CONFIG_FILE, Origin, Setting, Settings, fault};
use crate::Error;

/// The largest file, in bytes.
const MAX_FILE: u64 = 256 * 1024;
/// How deep maps may be nested.
const MAX_DEPTH: usize = 8;

/// The keys that the file sets.
pub(super) fn read(given: Option<&Path>, folder: &Path) -> Result<Settings, Error> {
    let path = given.map_or_else(|| folder.join(CONFIG_FILE), Path::to_owned);
    let opened = std::fs::File::open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if given.is_none() && error.kind() == ErrorKind::NotFound => {
            return Ok(Settings::new());
        }
        Err(error) => return Err(fault(path.display(), format!("can't be opened: {error}"))),
    };
    let mut text = String::new();
    let size = file
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| fault(path.display(), format!("can't be read: {error}")))?;
    if size as u64 > MAX_FILE {
        return Err(fault(path.display(), format!("the file has more than {MAX_FILE} bytes")));
    }
    parse(&text, path)
}

fn parse(text: &str, path: PathBuf) -> Result<Settings, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::with_options(StrInput::new(text), options);
    let mut reader = Reader { parser, path, settings: Settings::new() };
    let mut documents = 0;
    loop {
        let (event, origin) = reader.next()?;
        if matches!(event, Event::StreamEnd) {
            return Ok(reader.settings);
        }
        if !event.is_node() {
            continue;
        }
        documents += 1;
        if documents > 1 {
            return Err(fault(origin, "the file holds more than one YAML document"));
        }
        if !is_null(&event) {
            reader.value("", event, origin)?;
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    path: PathBuf,
    settings: Settings,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Origin), Error> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let origin = self.place(&span);
                Ok((event, origin))
            }
            Some(Err(error)) => {
                let marker = error.marker();
                Err(fault(self.origin(marker.line(), marker.col()), error.info()))
            }
            None => Ok((Event::StreamEnd, self.origin(1, 0))),
        }
    }

    fn place(&self, span: &Span) -> Origin {
        self.origin(span.start.line(), span.start.col())
    }

    fn origin(&self, line: usize, column: usize) -> Origin {
        Origin::File { path: self.path.clone(), line: line.max(1), column: column + 1 }
    }

    /// A section or the value of a key.
    fn value(&mut self, name: &str, event: Event<'t>, origin: Origin) -> Result<(), Error> {
        if event.tag().is_some() {
            return Err(fault(origin, "YAML tags are not understood here"));
        }
        let Some(key) = key::find(name) else { return self.section(name, &event, origin) };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all other events are of the wrong kind"
        )]
        let texts = match event {
            ref null if is_null(null) => return Ok(()),
            Event::Scalar(text, ..) => vec![text.to_string()],
            Event::SequenceStart(..) if key.kind != Kind::Text => self.items(name)?,
            _ if key.kind == Kind::Text => {
                return Err(fault(origin, format!("`{name}` takes one text")));
            }
            _ => return Err(fault(origin, format!("`{name}` takes a list of texts"))),
        };
        self.settings.insert(key.name, Setting { texts, origin });
        Ok(())
    }

    fn section(&mut self, name: &str, event: &Event<'t>, origin: Origin) -> Result<(), Error> {
        if !matches!(event, Event::MappingStart(..)) {
            return if is_null(event) {
                Ok(())
            } else {
                Err(fault(origin, format!("{} holds keys, and this is no map", shown(name))))
            };
        }
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let (event, origin) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(());
            }
            let Event::Scalar(part, ..) = event else {
                return Err(fault(origin, "this is no name of a key"));
            };
            let inner = if name.is_empty() { part.to_string() } else { format!("{name}.{part}") };
            if part.contains('.') || !exists(&inner) {
                return Err(fault(origin, unknown(&inner)));
            }
            if !seen.insert(inner.clone()) {
                return Err(fault(origin, format!("the key `{inner}` stands here a second time")));
            }
            let (event, origin) = self.next()?;
            self.value(&inner, event, origin)?;
        }
    }

    fn items(&mut self, name: &str) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        loop {
            let (event, origin) = self.next()?;
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "all other events are of the wrong kind"
            )]
            match event {
                Event::SequenceEnd => return Ok(texts),
                Event::Scalar(text, ..) => texts.push(text.to_string()),
                _ => return Err(fault(origin, format!("`{name}` takes a list of texts"))),
            }
        }
    }
}

/// Whether it is a key or the beginning of one.
fn exists(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn shown(name: &str) -> String {
    if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") }
}

fn is_null(event: &Event<'_>) -> bool {
    use serde_saphyr::granit_parser::ScalarStyle::Plain;
    matches!(event, Event::Scalar(text, Plain, ..) if matches!(text.as_ref(), "" | "~" | "null"))
}
