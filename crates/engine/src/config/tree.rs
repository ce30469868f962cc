//! From YAML text to a tree that knows where everything stands, with every size bounded.
//!
//! The reader of the configuration walks this tree instead of deserialising, so that it can report several errors at once
//! and keep plain scalars as they were written (`1.20` stays `1.20`).

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput,
};

use super::error::{Finding, Problem};
use super::source::{Position, lines, narrow, printable};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// How deep lists and maps may be nested.
const MAX_DEPTH: usize = 32;
/// How many values there may be once aliases are expanded.
const MAX_NODES: usize = 20_000;
/// How many bytes of text there may be once aliases are expanded.
const MAX_EXPANDED_BYTES: usize = 1024 * 1024;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub position: Position,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text; `plain` if it was written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_position: Position,
    pub value: Node,
}

impl Node {
    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a scalar that is written without quotes.
    pub fn plain(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is an unquoted null or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether it asks for nothing: null, an empty list or an empty map.
    pub fn asks_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar { .. } => self.is_null(),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    /// What it is, for "expected …, found …".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { plain: true, text } if matches!(text.as_str(), "true" | "false") => {
                "a boolean"
            }
            Value::Scalar { plain: true, text } if text.parse::<f64>().is_ok() => "a number",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads `text` as exactly one YAML document.
///
/// # Errors
/// What is wrong with it; duplicate keys are all reported, everything else ends the reading.
pub(super) fn read(text: &str) -> Result<Node, Vec<Finding>> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are allowed", text.len());
        return Err(vec![
            Finding::new(Problem::TooLarge, Position::START, message)
                .help("move long scripts into files of the repository and call them"),
        ]);
    }
    if let Some(finding) = find_nul(text) {
        return Err(vec![finding]);
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut composer = Composer {
        parser: Parser::with_options(StrInput::new(text), options),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        duplicates: Vec::new(),
    };
    let root = composer.document().map_err(|finding| vec![blame_tabs(*finding, text)])?;
    if composer.duplicates.is_empty() { Ok(root) } else { Err(composer.duplicates) }
}

fn find_nul(text: &str) -> Option<Finding> {
    let (index, line) = lines(text).enumerate().find(|(_, line)| line.contains('\0'))?;
    let column = line.chars().position(|character| character == '\0')?;
    let position = Position { line: narrow(index + 1), column: narrow(column + 1), width: 1 };
    Some(
        Finding::new(Problem::Nul, position, "the file contains a NUL character")
            .help("save it as UTF-8 text without NUL"),
    )
}

type Composed<T> = Result<T, Box<Finding>>;

struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    bytes: usize,
    duplicates: Vec<Finding>,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Composed<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Box::new(syntax(&error))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Composed<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                break;
            }
            if matches!(event, Event::DocumentStart(..)) && root.is_some() {
                let message = "the file holds more than one YAML document";
                let finding = Finding::new(Problem::SeveralDocuments, place(&span), message);
                return Err(Box::new(finding.help("keep one; remove the `---` and what follows")));
            }
            if event.is_node() {
                root = Some(self.node(event, &span)?);
            }
        }
        root.filter(|node| !node.is_null()).ok_or_else(|| {
            Box::new(
                Finding::new(Problem::Empty, Position::START, "the file is empty")
                    .help("`sandgate init` proposes one from what the repository contains"),
            )
        })
    }

    fn node(&mut self, event: Event<'t>, span: &Span) -> Composed<Node> {
        let position = place(span);
        if event.tag().is_some() {
            return Err(Box::new(
                Finding::new(Problem::Tag, position, "YAML tags are not understood here")
                    .help("remove the tag; quote the value if it must be text"),
            ));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        let anchor = event.anchor_id().filter(|id| *id != 0);
        #[expect(clippy::wildcard_enum_match_arm, reason = "all other events are no values")]
        let value = match event {
            Event::Alias(id) => return self.alias(id, position),
            Event::Scalar(text, style, ..) => self.scalar(&text, style, position)?,
            Event::SequenceStart(..) => Value::List(self.items()?),
            Event::MappingStart(..) => Value::Map(self.entries()?),
            _ => return Err(Box::new(Finding::new(Problem::Syntax, position, "unexpected end"))),
        };
        self.grow(1, 0, position)?;
        let node = Node { position, value };
        if let Some(id) = anchor {
            let anchored = Anchored {
                node: node.clone(),
                nodes: self.nodes - nodes_before,
                bytes: self.bytes - bytes_before,
            };
            self.anchors.insert(id, anchored);
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, position: Position) -> Composed<Value> {
        if text.contains('\0') {
            return Err(Box::new(
                Finding::new(Problem::Nul, position, "the text contains a NUL character")
                    .help("no command, path or variable can carry one; remove the escape"),
            ));
        }
        self.grow(0, text.len(), position)?;
        Ok(Value::Scalar { text: text.to_owned(), plain: matches!(style, ScalarStyle::Plain) })
    }

    fn alias(&mut self, id: usize, position: Position) -> Composed<Node> {
        let Some(Anchored { nodes, bytes, .. }) = self.anchors.get(&id) else {
            return Err(Box::new(Finding::new(
                Problem::Alias,
                position,
                "the alias stands inside of what it names",
            )));
        };
        let (nodes, bytes) = (*nodes, *bytes);
        self.grow(nodes, bytes, position)?;
        Ok(self.anchors[&id].node.clone())
    }

    fn grow(&mut self, nodes: usize, bytes: usize, position: Position) -> Composed<()> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes <= MAX_NODES && self.bytes <= MAX_EXPANDED_BYTES {
            return Ok(());
        }
        let message = format!(
            "the file holds more than {MAX_NODES} values or {MAX_EXPANDED_BYTES} bytes once its aliases are expanded"
        );
        Err(Box::new(
            Finding::new(Problem::TooManyNodes, position, message).help("use fewer aliases"),
        ))
    }

    fn items(&mut self) -> Composed<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            if event.is_node() {
                items.push(self.node(event, &span)?);
            } else if matches!(event, Event::StreamEnd) {
                return Err(Box::new(Finding::new(
                    Problem::Syntax,
                    place(&span),
                    "unexpected end",
                )));
            }
        }
    }

    fn entries(&mut self) -> Composed<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let (key, key_position) = self.key(event, &span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            match lines.get(&key) {
                Some(line) => self.duplicates.push(
                    Finding::new(
                        Problem::DuplicateKey,
                        key_position,
                        format!(
                            "the key `{}` stands here a second time; the first is on line {line}",
                            printable(&key, 80)
                        ),
                    )
                    .help("keep one of them"),
                ),
                None => {
                    lines.insert(key.clone(), key_position.line);
                    entries.push(Entry { key, key_position, value });
                }
            }
        }
    }

    fn key(&mut self, event: Event<'t>, span: &Span) -> Composed<(String, Position)> {
        let position = place(span);
        let node = self.node(event, span)?;
        let Value::Scalar { text, plain } = node.value else {
            return Err(Box::new(
                Finding::new(Problem::KeyType, position, format!("a key is {}", node.kind()))
                    .help("keys are names"),
            ));
        };
        if plain && text == "<<" {
            return Err(Box::new(
                Finding::new(Problem::MergeKey, position, "merge keys are not understood").help(
                    "write the keys out, or use an alias for the whole value (`defaults: *name`)",
                ),
            ));
        }
        Ok((text, position))
    }
}

fn syntax(error: &ScanError) -> Finding {
    let marker = error.marker();
    let position =
        Position { line: narrow(marker.line().max(1)), column: narrow(marker.col() + 1), width: 1 };
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        let message = format!("lists and maps are nested deeper than {MAX_DEPTH} levels");
        return Finding::new(Problem::TooDeep, position, message);
    }
    let text = error.kind().to_string();
    if matches!(error.kind(), ErrorKind::UnknownAnchor) {
        return Finding::new(
            Problem::Alias,
            position,
            "the alias names nothing that stands before it",
        )
        .help("define it with `&name` first; quote the value if the `*` is meant literally");
    }
    if is_tab(error.kind()) {
        return tab(position);
    }
    Finding::new(Problem::Syntax, position, format!("this is not YAML: {text}"))
}

/// YAML errors caused by a tab in the indentation are often reported as something else, or on the line before.
fn blame_tabs(finding: Finding, text: &str) -> Finding {
    if !matches!(finding.problem, Problem::Syntax | Problem::Tab) {
        return finding;
    }
    let looked_at = if finding.problem == Problem::Tab { 2 } else { 1 };
    let indented_by_tab = |line: &str| -> Option<usize> {
        line.chars().take_while(|character| character.is_whitespace()).position(|c| c == '\t')
    };
    let first = finding.position.within(text).line as usize;
    let blamed = lines(text).enumerate().skip(first - 1).take(looked_at);
    let found =
        blamed.filter_map(|(index, line)| Some((index + 1, indented_by_tab(line)? + 1))).next();
    match found {
        Some((line, column)) => {
            tab(Position { line: narrow(line), column: narrow(column), width: 1 })
        }
        None => finding,
    }
}

fn tab(position: Position) -> Finding {
    Finding::new(Problem::Tab, position, "a tab stands where YAML wants spaces")
        .help("indent with spaces")
}

fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
    )
}

fn place(span: &Span) -> Position {
    let one_line = span.start.line() == span.end.line();
    Position {
        line: narrow(span.start.line().max(1)),
        column: narrow(span.start.col() + 1),
        width: if one_line { narrow(span.len().max(1)) } else { 1 },
    }
}
